/** Merges of layers that are killed where QEMU and qemu-img say that they are done before all is on disk: nothing is lost. */
import { chownSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { run } from "../../system/run.ts";
import { RealMachines, USER } from "../testing/real-machines.ts";
import type { Facts } from "./layer-records.ts";
import { type LayerTool, QEMU_IMG } from "./layer-tool.ts";
import { Layers } from "./layers.ts";

const machines = new RealMachines();
let folder: string;
const FACTS: Facts = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Crash" };
const [A, B] = ["aaaaaaaa", "bbbbbbbb"].map((s) => `${s}-0000-4000-8000-000000000000`) as [string, string];
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
  mkdirSync(folder, { mode: 0o711 });
  for (const disk of DISKS) {
    await run("qemu-img", ["create", "-q", "-f", "qcow2", path(`${disk}.qcow2`), "128M"]);
    chownSync(path(`${disk}.qcow2`), USER.uid, USER.gid);
  }
  await write("data.qcow2", 0, 40, 0xab);
});

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
