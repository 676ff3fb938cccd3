/** What is written down of layers is there after a power cut: memory that was kept is never gone on with twice. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { watchFlushes } from "../../system/testing/flushes.ts";
import type { KeptMemory } from "./layer-records.ts";
import { QEMU_IMG } from "./layer-tool.ts";
import { Layers } from "./layers.ts";

/** What is flushed, and what is in `file` then. */
const watched = (file: string) =>
  watchFlushes(() => (existsSync(file) ? readFileSync(file, "utf8") : undefined));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-layers-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
});

it("a file that took the place of another, in a folder that is new, too", async () => {
  const file = join(folder, "snapshots/a.json");
  const made = expect.stringMatching(/\/snapshots\/a\.json\..+\.new$/);
  const flushed = await watched(file);
  await QEMU_IMG.replace(file, "1");
  expect(flushed).toEqual([
    { path: folder, seen: undefined },
    { path: made, seen: undefined },
    { path: join(folder, "snapshots"), seen: "1" },
  ]);
  await QEMU_IMG.replace(file, "2");
  expect(flushed.slice(3)).toEqual([
    { path: made, seen: "1" },
    { path: join(folder, "snapshots"), seen: "2" },
  ]);
});

it("that one is gone; what was not there costs nothing", async () => {
  const file = join(folder, "a");
  const flushed = await watched(file);
  await QEMU_IMG.remove(file);
  expect(flushed).toEqual([]);
  writeFileSync(file, "1");
  await QEMU_IMG.remove(file);
  expect(flushed).toEqual([{ path: folder, seen: undefined }]);
});

it("that a memory has been gone on with, before the guest runs", async () => {
  const flushed = await watched(join(folder, "layers.json"));
  const { memories } = new Layers(folder, ["root"], { uid: 0, gid: 0 });
  writeFileSync(memories.suspendedFile(), "");
  const memory: KeptMemory = {
    machineType: "pc-q35-7.2",
    accelerator: "tcg",
    cpus: 1,
    memory: "64Mi",
    networks: [],
    sizeBytes: 0,
    live: false,
  };
  await memories.suspended({ run: "r", time: "2026-01-01T00:00:00Z", saveMs: 1, memory });
  expect(flushed.at(-1)?.seen).toContain("suspended");
  await memories.resumed();
  expect(flushed.at(-1)).toEqual({ path: folder, seen: '{"active":{}}' });
});
