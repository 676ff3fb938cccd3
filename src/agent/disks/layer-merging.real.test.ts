/** Merges of layers that are killed where QEMU and qemu-img say that they are done before all is on disk: nothing is lost. */
import { chownSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { run } from "../../system/run.ts";
import type { MachineConfig } from "../hypervisor.ts";
import type { QemuHypervisor } from "../qemu/qemu-hypervisor.ts";
import { RealMachines, USER } from "../testing/real-machines.ts";
import type { Down, Running } from "./layer-merging.ts";
import type { Facts } from "./layer-records.ts";
import { type LayerTool, QEMU_IMG } from "./layer-tool.ts";
import { Layers } from "./layers.ts";

const machines = new RealMachines();
let folder: string;
const FACTS: Facts = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Crash" };
const [A, B, C] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"].map((s) => `${s}-0000-4000-8000-000000000000`) as [
  string,
  string,
  string,
];
const DISKS = ["root", "data"];
const STOPPED = async () => false;

const layersOf = (tool?: LayerTool) => new Layers(folder, DISKS, USER, tool);
const path = (file: string) => join(folder, file);
const overlay = (uid: string) => `data-${uid.slice(0, 8)}0000.qcow2`;
const files = () => readdirSync(folder).filter((name) => name.startsWith("data"));

const write = (file: string, at: number, mib: number, byte: number) =>
  run("qemu-io", ["-f", "qcow2", "-c", `write -q -P ${byte} ${at}M ${mib}M`, path(file)]);
/** What the disk holds, as whoever opens it anew finds it. */
async function holds(at: number, mib: number, byte: number): Promise<void> {
  const [, data = ""] = await layersOf().active();
  await run("qemu-io", ["-f", "qcow2", "-r", "-c", `read -q -P ${byte} ${at}M ${mib}M`, data]);
}

async function take(uid: string, host?: (...switches: { from: string; to: string }[]) => Promise<unknown>) {
  await host?.(...(await layersOf().begin(uid)));
  await layersOf().begin(uid);
  await layersOf().finish(uid, FACTS);
}

beforeEach(async () => {
  folder = join(machines.folder, "disks");
  await make();
});

async function make(): Promise<void> {
  mkdirSync(folder, { mode: 0o711 });
  for (const disk of DISKS) {
    await run("qemu-img", ["create", "-q", "-f", "qcow2", path(`${disk}.qcow2`), "128M"]);
    chownSync(path(`${disk}.qcow2`), USER.uid, USER.gid);
  }
  await write("data.qcow2", 0, 40, 0xab);
}

async function start(host = machines.hypervisor("a")) {
  const disks = (await layersOf().active()).map((p, i) => ({
    path: p,
    format: "qcow2" as const,
    readOnly: false,
    ...(i === 0 ? {} : { name: "data", port: 0 }),
  }));
  const config = machines.machine("writer", { disks, folders: [folder], ports: 1 });
  await machines.start(host, config);
  return { host, id: config.id };
}

it("under a running machine, the newest: killed right afterwards, the layer above has all of it", async () => {
  const { host, id } = await start();
  await take(A, (...switches) => host.switchLayers(id, switches));
  await layersOf().remove(A, (into, from) => host.absorbLayer(id, into, from));
  await host.kill(id);
  expect(files()).toEqual([overlay(A)]);
  await holds(0, 40, 0xab);
});

it("under a running machine, one between: likewise, for whoever reads it meanwhile", async () => {
  const { host, id } = await start();
  for (const uid of [A, B]) await take(uid, (...switches) => host.switchLayers(id, switches));
  await layersOf().remove(A, (into, from) => host.absorbLayer(id, into, from));
  expect(files()).toEqual([overlay(A), overlay(B)]);
  const read = ["-f", "qcow2", "-U", "-r", "-c", "read -q -P 0xab 0 40M", path(overlay(A))];
  await run("qemu-io", read);
  await host.kill(id);
  await holds(0, 40, 0xab);
});

/** As QEMU and qemu-img leave it that are killed: the head says that it is done, and nothing else of it is on disk. */
const headOnly = (into: string) => run("qemu-img", ["rebase", "-q", "-f", "qcow2", "-u", "-b", "", into]);

it("QEMU is killed before it has all on disk: the next run, or deletion, finds all where it was", async () => {
  await take(A);
  const killed = async (into: string): Promise<boolean> => {
    if (into.includes("root")) return false;
    await headOnly(into);
    throw new Error("killed");
  };
  await expect(layersOf().remove(A, killed)).rejects.toThrow("killed");
  expect(await layersOf().isUnsettled()).toBe(true);
  expect((await layersOf().describe(DISKS)).frozen).toEqual([{ file: "data.qcow2", over: undefined }]);
  await layersOf().settle();
  await holds(0, 40, 0xab);
  await expect(layersOf().remove(A, killed)).rejects.toThrow("killed");
  await layersOf().collect(STOPPED);
  await holds(0, 40, 0xab);
  expect(files()).toEqual([overlay(A)]);
  expect(await layersOf().isUnsettled()).toBe(false);
});

it("qemu-img is killed before it has all on disk: the next deletion merges it anew", async () => {
  await take(A);
  await write(overlay(A), 60, 60, 0xcd);
  const tool: LayerTool = {
    ...QEMU_IMG,
    rebase: async (into, from) => {
      if (into.includes("root")) return QEMU_IMG.rebase(into, from);
      await headOnly(into);
      throw new Error("killed");
    },
  };
  await expect(layersOf(tool).remove(A, STOPPED)).rejects.toThrow("killed");
  await take(B); // by an agent that does not know of it
  await layersOf().collect(STOPPED);
  await layersOf().remove(B, STOPPED);
  await holds(0, 40, 0xab);
  await holds(60, 60, 0xcd);
  expect(files()).toEqual([overlay(B)]);
});

it("what has taken the name of the layer above is not looked for any more", async () => {
  await take(A);
  await write(overlay(A), 0, 1, 0xcd);
  const inode = statSync(path("data.qcow2")).ino;
  const tool: LayerTool = {
    ...QEMU_IMG,
    rebase: async (into, from) => {
      await QEMU_IMG.rebase(into, from);
      if (into.includes("data")) throw new Error("killed");
    },
  };
  for (let i = 0; i < 2; i++)
    await layersOf(tool)
      .remove(A, STOPPED)
      .catch(() => undefined);
  await layersOf().settle();
  await layersOf().collect(STOPPED);
  expect(files()).toEqual([overlay(A)]);
  expect(statSync(path(overlay(A))).ino).toBe(inode);
  await holds(0, 1, 0xcd);
  await holds(1, 39, 0xab);
});

describe("where the layer above holds less, it goes down under a running machine", () => {
  const inode = (file: string) => statSync(path(file)).ino;
  const removed = (uid: string, host: QemuHypervisor, id: MachineConfig["id"]) =>
    layersOf().remove(uid, (into, from, down) => host.absorbLayer(id, into, from, down));
  const running = async (host: QemuHypervisor, id: MachineConfig["id"]): Promise<Running> => ({
    written: await host.activeLayers(id),
    absorb: (into, from, down) => host.absorbLayer(id, into, from, down),
  });

  /** 40 MiB below; two above, in one layer of a snapshot's or, with none after it, in what the guest writes to. */
  async function prepare(between: boolean): Promise<void> {
    await take(A);
    await write(overlay(A), 10, 2, 0xcd);
    if (between) await take(B);
  }
  async function isWhole(): Promise<void> {
    await holds(0, 10, 0xab);
    await holds(10, 2, 0xcd);
    await holds(12, 28, 0xab);
  }

  it.each([
    { where: "the newest", between: false, left: ["data.qcow2"] },
    { where: "one between", between: true, left: [overlay(B), "data.qcow2"] },
  ])("$where: the file below stays, and is what was above it", async ({ between, left }) => {
    await prepare(between);
    const [wanted, blocks] = [inode("data.qcow2"), statSync(path("data.qcow2")).blocks];
    const { host, id } = await start();
    await removed(A, host, id);
    expect(files()).toEqual(left);
    expect(inode("data.qcow2")).toBe(wanted);
    expect(statSync(path("data.qcow2")).blocks - blocks).toBeLessThan((4 * 2 ** 20) / 512);
    expect(await layersOf().tree()).toEqual(between ? { tree: [{ snapshot: B }], current: B } : { tree: [] });
    expect(readdirSync(path("snapshots"))).toEqual(between ? [`${B}.json`] : []);
    expect(await host.activeLayers(id)).toEqual(await layersOf().active());
    await host.kill(id);
    await isWhole();
  });

  it("one after the other, with snapshots taken meanwhile: each is what it was", async () => {
    await prepare(false);
    const { host, id } = await start();
    await removed(A, host, id);
    await take(B, (...switches) => host.switchLayers(id, switches));
    await expect(layersOf().begin(A)).rejects.toThrow("take another one");
    await host.kill(id);
    await write(overlay(B), 20, 1, 0xef);
    const next = await start();
    await removed(B, next.host, next.id);
    expect(files()).toEqual(["data.qcow2"]);
    await next.host.kill(next.id);
    await holds(10, 2, 0xcd);
    await holds(20, 1, 0xef);
    await holds(21, 19, 0xab);
  });

  it("a branch that nobody has open stands on what is there afterwards", async () => {
    await prepare(true);
    const D = "dddddddd-0000-4000-8000-000000000000";
    await write(overlay(B), 30, 1, 0xef);
    await layersOf().revert(C, B, D, FACTS);
    const { host, id } = await start();
    await removed(A, host, id);
    expect(files()).not.toContain(overlay(A));
    await host.kill(id);
    await isWhole();
    await layersOf().revert("eeeeeeee-0000-4000-8000-000000000000", D, undefined, FACTS);
    await holds(30, 1, 0xef);
    await holds(10, 2, 0xcd);
  });

  it("zeros that would be written out count: where they are more than all below, that goes up", async () => {
    await take(A);
    await run("qemu-io", ["-f", "qcow2", "-c", "write -z -u 50M 60M", path(overlay(A))]);
    await take(B);
    const { host, id } = await start();
    await removed(A, host, id);
    expect(files()).toEqual([overlay(A), overlay(B)]);
    await host.kill(id);
    await holds(0, 40, 0xab);
  });

  it("a copy that cannot be made leaves the guest with what it had, and is tried again", async () => {
    await prepare(false);
    const { host, id } = await start();
    const failing = (into: string, from: string, down: Down) =>
      host.absorbLayer(id, into, from, {
        ...down,
        sure: async () => Promise.reject(new Error("no room to write that down")),
      });
    await expect(layersOf().remove(A, failing)).rejects.toThrow("no room");
    expect((await host.activeLayers(id))[1]).toBe(path(overlay(A)));
    await layersOf().settle(await running(host, id));
    await removed(A, host, id);
    expect(files()).toEqual(["data.qcow2"]);
    await host.kill(id);
    await isWhole();
  });

  it("what could not be written down for sure is taken back before the guest goes on with what it had", async () => {
    await prepare(false);
    const { host, id } = await start();
    let isWritten = false;
    const tool: LayerTool = {
      ...QEMU_IMG,
      replace: async (path, text) => {
        await QEMU_IMG.replace(path, text);
        if (!text.includes('"sure"') || isWritten) return;
        isWritten = true;
        throw new Error("no flush");
      },
    };
    const merged = layersOf(tool).remove(A, async (into, from, down) =>
      into.includes("root") ? host.absorbLayer(id, into, from) : host.absorbLayer(id, into, from, down),
    );
    await expect(merged).rejects.toThrow("no flush");
    expect((await host.activeLayers(id))[1]).toBe(path(overlay(A)));
    await host.kill(id);
    await layersOf().settle();
    expect(files()).toContain(overlay(A));
    await isWhole();
  });

  it("so is what an agent that died had written down, once QEMU has gone on with what it had", async () => {
    await prepare(false);
    const { host, id } = await start();
    const dead = layersOf().remove(A, async (into, from, down) => {
      if (into.includes("root")) return host.absorbLayer(id, into, from);
      await down.sure();
      throw new Error("dead");
    });
    await expect(dead).rejects.toThrow("dead");
    await layersOf().settle(await running(host, id));
    await host.kill(id);
    await layersOf().settle();
    expect(files()).toContain(overlay(A));
    await isWhole();
  });

  const when = [
    "before it has written down that it is sure",
    "right after that",
    "before it has closed the upper one",
  ] as const;
  const whose = ["of what the guest writes to", "of one between"] as const;
  const cases = whose
    .flatMap((which) => when.map((at) => ({ which, at })))
    // Of one between, that is the same moment as the one before.
    .filter(({ which, at }) => which === "of what the guest writes to" || at !== when[2]);

  /** An agent that dies at that moment of data's merge. */
  async function dies({ which, at }: (typeof cases)[number]): Promise<{ id: MachineConfig["id"] }> {
    await prepare(which === "of one between");
    const { host, id } = await start();
    let calls = 0;
    let isDead = false;
    const dead = layersOf().remove(A, (into, from, down) =>
      host.absorbLayer(id, into, from, {
        ...down,
        sure: async () => {
          if (into.includes("root")) return down.sure();
          calls++;
          if (at !== when[0]) await down.sure();
          // It is written down again once QEMU goes on with the lower one.
          if (at === when[2] && calls === 1) return;
          isDead = true;
          host.close();
          throw new Error("dead");
        },
        unsure: async () => {
          if (isDead) throw new Error("dead");
          await down.unsure();
        },
      }),
    );
    await expect(dead).rejects.toThrow();
    return { id };
  }

  it.each(cases)("an agent dies $at, $which: the next one goes on", async (at) => {
    const { id } = await dies(at);
    const host = machines.hypervisor("a");
    await layersOf().settle(await running(host, id));
    if (at.at !== when[0]) await take(C, (...switches) => host.switchLayers(id, switches));
    await removed(A, host, id);
    expect(files()).not.toContain(overlay(A));
    expect(await host.activeLayers(id)).toEqual(await layersOf().active());
    await host.kill(id);
    await isWhole();
  });

  it.each([
    { at: when[0], goesOnWith: overlay(A) },
    { at: when[1], goesOnWith: "data.qcow2" },
  ])("an agent dies $at: the guest's writes go on once another has looked", async ({ at, goesOnWith }) => {
    const { id } = await dies({ which: whose[0], at });
    const host = machines.hypervisor("a");
    await host.list();
    expect(await host.copying(id)).toBeUndefined();
    expect((await host.activeLayers(id))[1]).toBe(path(goesOnWith));
    await host.kill(id);
    await layersOf().settle();
    await isWhole();
  });

  it.each(cases)(
    "agent and QEMU die $at, $which: the next run finds all, and so does the next deletion",
    async (at) => {
      const { id } = await dies(at);
      await machines.hypervisor("a").kill(id);
      expect(await layersOf().isUnsettled()).toBe(true);
      await layersOf().settle();
      await isWhole();
      await layersOf().collect(STOPPED);
      await isWhole();
      expect(files()).toHaveLength(at.which === "of one between" ? 2 : 1);
      expect(await layersOf().isUnsettled()).toBe(false);
    },
  );

  it("an agent dies between any two steps after that: the next one does the rest", async () => {
    const { id } = await dies({ which: "of one between", at: "right after that" });
    await machines.hypervisor("a").kill(id);
    const then = join(machines.folder, "then");
    await run("cp", ["-a", folder, then]);
    for (let steps = 0, killed = true; killed; steps++) {
      rmSync(folder, { recursive: true });
      await run("cp", ["-a", then, folder]);
      let left = steps;
      const step = async <T>(work: () => Promise<T>): Promise<T> => {
        if (left-- === 0) throw new Error("killed");
        return work();
      };
      const tool: LayerTool = {
        ...QEMU_IMG,
        restore: (...args) => step(() => QEMU_IMG.restore(...args)),
        replace: (...args) => step(() => QEMU_IMG.replace(...args)),
        remove: (...args) => step(() => QEMU_IMG.remove(...args)),
      };
      const died = layersOf(tool).settle();
      killed = await died.then(
        () => false,
        () => true,
      );
      await layersOf().settle();
      await isWhole();
      await layersOf().collect(STOPPED);
      expect(files()).toEqual([overlay(B), "data.qcow2"]);
      expect(await layersOf().tree()).toEqual({ tree: [{ snapshot: B }], current: B });
      expect(steps).toBeLessThan(20);
    }
  });
});
