/** Old files of images: which go, which stay, and what a collector that is killed leaves. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { modify } from "../../client/client.ts";
import { Instance, VirtualMachine, VOLUMES_FINALIZER } from "../../compute/kinds.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { openControlPlane, until } from "../../compute/testing/control-plane.ts";
import { Event } from "../../reconcile/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { SteppedClock } from "../../reconcile/testing/stepped-clock.ts";
import { Image, ImageBuild } from "../kinds.ts";
import { ImageCollector } from "./collector.ts";
import { NotSeen, usedFiles } from "./used-files.ts";

const GRACE_MS = 1000;
const base = (n: number) => `web-${String(n).repeat(12).slice(0, 12)}`;
const recipe = { distribution: "debian", release: "bookworm", packages: [] as string[] } as const;

let plane: Awaited<ReturnType<typeof openControlPlane>>;
let pool: string;
let clock: SteppedClock;
let collector: ImageCollector;
let step: () => void;

beforeEach(async () => {
  plane = await openControlPlane();
  pool = mkdtempSync(join(tmpdir(), "vireo-collector-"));
  clock = new SteppedClock(plane.idle);
  step = () => {};
  anotherLeader();
  await plane.client.create(StoragePool, {
    metadata: { name: "default" },
    spec: { directory: { path: pool, shared: true } },
  });
  mkdirSync(join(pool, "images"));
});
afterEach(async () => {
  await plane.close();
  rmSync(pool, { recursive: true });
});

/** @returns what ends its lead */
function anotherLeader(): AbortController {
  const leads = new AbortController();
  const context = { client: plane.client, clock, log: silentLogger, signal: leads.signal };
  const options = { everyMs: 1, graceMs: GRACE_MS, scanMs: GRACE_MS, step: () => step() };
  collector = new ImageCollector(context, options);
  return leads;
}

const write = (path: string, content: string | Buffer) => {
  mkdirSync(dirname(join(pool, path)), { recursive: true });
  writeFileSync(join(pool, path), content);
};

/** The files that a build of version n makes. */
function make(n: number): void {
  for (const ending of ["qcow2", "vmlinuz", "initrd", "spdx.json"]) write(`images/${base(n)}.${ending}`, "x");
  const { version: _, ...made } = version(n);
  const artifacts = [{ format: "spdx", file: `${base(n)}.spdx.json` }];
  write(`images/${base(n)}.json`, JSON.stringify({ ...made, artifacts }));
}

const version = (n: number) => ({
  version: n,
  file: `${base(n)}.qcow2`,
  format: "qcow2" as const,
  boot: { kernel: `${base(n)}.vmlinuz`, initrd: `${base(n)}.initrd`, commandLine: "" },
});

/** An image of so many versions, the last of which it is. */
async function image(versions: number, more: { channels?: { name: string; version: number }[] } = {}) {
  await plane.client.create(Image, {
    metadata: { name: "web" },
    spec: { recipe: { ...recipe, packages: [] }, keepVersions: 1 },
  });
  const numbers = Array.from({ length: versions }, (_, i) => i + 1);
  for (const n of numbers) make(n);
  await modify(plane.client, Image, { name: "web" }, "status", (now) => ({
    ...now,
    status: { phase: "Ready" as const, ...version(versions), versions: numbers.map(version) },
  }));
  if (more.channels)
    await modify(plane.client, Image, { name: "web" }, "object", (now) => ({
      ...now,
      spec: { ...now.spec, ...more },
    }));
}

/** A qcow2 header that names the file below. */
function overlay(below: string): Buffer {
  const bytes = Buffer.alloc(4096);
  bytes.write("QFI\xfb", 0, "latin1");
  bytes.writeUInt32BE(3, 4);
  bytes.writeBigUInt64BE(512n, 8);
  bytes.writeUInt32BE(Buffer.byteLength(below), 16);
  bytes.write(below, 512);
  return bytes;
}

/** As many passes as it takes, with the grace between them: what nobody names, what no disk is on, what no disk is on still. */
async function collect(): Promise<string[]> {
  const removed: string[] = [];
  for (let pass = 0; pass < 3; pass++) {
    if (pass > 0) await clock.step(GRACE_MS);
    removed.push(...(await collector.pass()));
  }
  return removed;
}
const left = () => [
  ...new Set(readdirSync(join(pool, "images")).map((name) => /^web-(\d)/.exec(name)?.[1] ?? name)),
];
const files = (n: number) => readdirSync(join(pool, "images")).filter((name) => name.startsWith(base(n)));
const versions = async () =>
  (await plane.client.get(Image, { name: "web" }))?.status?.versions?.map((each) => each.version);

describe("old files of an image", () => {
  it("go when nothing names them and no disk is made on them, after a while", async () => {
    await image(3);
    expect(await collector.pass()).toEqual([]);
    expect(await versions()).toEqual([3]);
    expect(left()).toEqual(["1", "2", "3"]);
    for (const removed of [0, 10]) {
      await clock.step(GRACE_MS);
      expect(await collector.pass()).toHaveLength(removed);
    }
    expect(left()).toEqual(["3"]);
    expect(files(3)).toHaveLength(5);
  });

  it("stay while a channel points to them, or a machine names them", async () => {
    await image(4, { channels: [{ name: "stable", version: 1 }] });
    await plane.client.create(VirtualMachine, {
      metadata: { name: "a", namespace: "default" },
      spec: { memory: "64Mi", image: "web:2" },
    });
    await collect();
    expect(await versions()).toEqual([1, 2, 4]);
    expect(left()).toEqual(["1", "2", "4"]);
  });

  it("stay while any disk is made on them, also of machines that nobody knows any more, and go then", async () => {
    await image(4);
    const folder = "machines/default/a-01234567";
    write(`${folder}/boot.json`, JSON.stringify({ file: version(1).file }));
    write(`${folder}/root.qcow2`, overlay("/elsewhere/unknown.qcow2"));
    write("machines/other/b-89abcdef/snapshots/x.data.qcow2", overlay(join(pool, "images", version(2).file)));
    await collect();
    expect(left()).toEqual(["1", "2", "4"]);
    rmSync(join(pool, "machines"), { recursive: true });
    await collect();
    expect(left()).toEqual(["4"]);
  });

  it("stay of which kernel or initial RAM disk is booted", async () => {
    await image(2);
    const { kernel, initrd } = version(1).boot;
    write(
      "machines/default/a-01234567/boot.json",
      JSON.stringify({ file: "old.qcow2", boot: { kernel, initrd } }),
    );
    await collect();
    expect(left()).toEqual(["1", "2"]);
  });

  it("go with their image, and what users brought stays", async () => {
    await image(1);
    write("images/mine.qcow2", "x");
    write("images/mine-000000000000.json", JSON.stringify({ hello: 1 }));
    write(`images/${base(1)}.backup.qcow2`, "x");
    await plane.client.delete(Image, { name: "web" });
    await collect();
    expect(readdirSync(join(pool, "images")).sort()).toEqual([
      "mine-000000000000.json",
      "mine.qcow2",
      `${base(1)}.backup.qcow2`,
    ]);
  });

  it("that are an image's again within the while stay", async () => {
    await image(2);
    await collector.pass();
    await modify(plane.client, Image, { name: "web" }, "status", (now) => ({
      ...now,
      status: { ...now.status, ...version(1), versions: [version(1), version(2)] },
    }));
    for (let pass = 0; pass < 2; pass++) {
      await clock.step(GRACE_MS);
      await collector.pass();
    }
    expect(left()).toContain("1");
  });

  it("stay when a machine's disks were made on them while others were looked at", async () => {
    await image(2);
    await collector.pass();
    await clock.step(GRACE_MS);
    await collector.pass();
    write("machines/default/a-01234567/root.qcow2", overlay(version(1).file));
    await clock.step(GRACE_MS);
    expect(await collector.pass()).toEqual([]);
  });

  it("stay when another control plane leads by now", async () => {
    await image(2);
    const leads = anotherLeader();
    let steps = 0;
    step = () => {
      if (++steps === 1) leads.abort(new Error("leads no more"));
    };
    await expect(collect()).rejects.toThrow("leads no more");
    // Of what was begun no more than the first change.
    expect(files(1)).toHaveLength(5);
  });

  it("take the builds along that say they made them", async () => {
    await image(2);
    const build = await plane.client.create(ImageBuild, {
      metadata: { name: "web-1" },
      spec: { image: "web", recipe: { ...recipe, packages: [] } },
    });
    const done = async (name: string, n: number, finishedTime: string) => {
      const { version: _, ...made } = version(n);
      await modify(plane.client, ImageBuild, { name }, "status", (now) => ({
        ...now,
        status: { phase: "Succeeded" as const, finishedTime, ...made },
      }));
    };
    await done(build.metadata.name, 1, "2026-01-01T00:00:00Z");
    await plane.client.create(ImageBuild, {
      metadata: { name: "web-2" },
      spec: { image: "web", recipe: { ...recipe, packages: [] } },
    });
    await collect();
    // Something is being built.
    expect(left()).toEqual(["1", "2"]);
    await done("web-2", 2, "2026-01-02T00:00:00Z");
    await collect();
    expect(left()).toEqual(["2"]);
    expect((await plane.client.list(ImageBuild)).items.map(({ metadata }) => metadata.name)).toEqual([
      "web-2",
    ]);
  });
});

it("what a build that was killed has left goes, once no build is under way", async () => {
  const at = (name: string, ms: number) => {
    write(`images/${name}/root/file`, "x");
    utimesSync(join(pool, "images", name), ms / 1000, ms / 1000);
  };
  const now = clock.now().getTime();
  at(".build-web-a", now - 2 * GRACE_MS);
  at(".build-web-b", now);
  const spec = { image: "web", recipe: { ...recipe, packages: [] } };
  await plane.client.create(ImageBuild, { metadata: { name: "web-1" }, spec });
  await collector.pass();
  expect(readdirSync(join(pool, "images"))).toHaveLength(2);
  await modify(plane.client, ImageBuild, { name: "web-1" }, "status", (build) => ({
    ...build,
    status: { phase: "Cancelled" as const },
  }));
  await collector.pass();
  expect(readdirSync(join(pool, "images"))).not.toContain(".build-web-a");
  expect(readdirSync(join(pool, "images"))).toContain(".build-web-b");
});

describe("nothing goes", () => {
  beforeEach(() => image(2));
  const stays = async () => {
    await collect();
    expect(left()).toEqual(["1", "2"]);
  };

  it("while a pool is not shared: its disks are not to be seen", async () => {
    await plane.client.create(StoragePool, {
      metadata: { name: "local" },
      spec: { directory: { path: "/nowhere/at/all", shared: false } },
    });
    await stays();
    await until("an Event to tell why", async () => {
      const { items } = await plane.client.list(Event);
      return items.some(({ spec }) => spec.message.includes("storage pool local are not to be seen"));
    });
  });

  it("while the disks of a machine are not where they should be", async () => {
    const vm = await plane.client.create(VirtualMachine, {
      metadata: { name: "a", namespace: "default" },
      spec: { memory: "64Mi", image: "web" },
    });
    const vmUid = vm.metadata.uid ?? "";
    await plane.client.create(Instance, {
      metadata: { name: "a-0", namespace: "default" },
      spec: { vm: "a", vmUid, cpus: 1, memory: "64Mi", image: "web", volumesExist: true, interfaces: [] },
    });
    await stays();
    mkdirSync(join(pool, `machines/default/a-${vmUid.slice(0, 8)}`), { recursive: true });
    await collect();
    expect(left()).toEqual(["2"]);
  });

  it("nor of one that ran once, or of whose runs nothing is known", async () => {
    const metadata = { namespace: "default", finalizers: [VOLUMES_FINALIZER] };
    const spec = { memory: "64Mi", image: "web" };
    const ran = await plane.client.create(VirtualMachine, { metadata: { ...metadata, name: "a" }, spec });
    const vmUid = ran.metadata.uid ?? "";
    const run = await plane.client.create(Instance, {
      metadata: { name: "a-0", namespace: "default" },
      spec: { vm: "a", vmUid, cpus: 1, memory: "64Mi", image: "web", interfaces: [] },
    });
    const startedTime = "2026-01-01T00:00:00Z";
    await plane.client.updateStatus(Instance, { ...run, status: { phase: "Stopped", startedTime } });
    await stays();
    await plane.client.delete(Instance, { name: "a-0", namespace: "default" });
    await modify(plane.client, VirtualMachine, { name: "a", namespace: "default" }, "status", (now) => ({
      ...now,
      status: { ...now.status, sequence: 1 },
    }));
    await stays();
  });

  it("while a folder is a link: what it leads to is not looked at", async () => {
    mkdirSync(join(pool, "machines"));
    symlinkSync("/nowhere", join(pool, "machines/default"));
    await stays();
  });

  it("while disks come and go: what is read of the others is not forgotten", async () => {
    for (let n = 0; n < 40; n++)
      write(`machines/default/m-${n}/root.qcow2`, overlay(join(pool, "images", version(1).file)));
    const { items: pools } = await plane.client.list(StoragePool);
    for (let round = 0; round < 40; round++) {
      const used = usedFiles(pools, [], []).catch((error: unknown) => {
        expect(error).toBeInstanceOf(NotSeen);
        return new Set([version(1).file]);
      });
      await rm(join(pool, `machines/default/m-${round}`), { recursive: true });
      if (round < 39) expect(await used).toContain(version(1).file);
    }
  });

  it("while it is not known what a machine boots", async () => {
    write("machines/default/a-01234567/boot.json", "{");
    await stays();
  });
});

it("a collector that is killed at any step is finished by the next", async () => {
  for (let kill = 1; ; kill++) {
    rmSync(join(pool, "images"), { recursive: true });
    mkdirSync(join(pool, "images"));
    if (kill === 1) await image(2);
    else for (const n of [1, 2]) make(n);
    anotherLeader();
    let steps = 0;
    step = () => {
      if (++steps === kill) throw new Error("killed");
    };
    await collect().catch(() => {});
    // As long as files are missing, nothing says that they are there.
    if (files(1).length < 5) expect(files(1)).not.toContain(`${base(1)}.json`);
    const wasKilled = steps >= kill;
    step = () => {};
    anotherLeader();
    await collect();
    expect(files(1), `killed at step ${kill}`).toEqual([]);
    expect(files(2)).toHaveLength(5);
    if (!wasKilled) {
      expect(kill).toBeGreaterThan(5);
      break;
    }
  }
});
