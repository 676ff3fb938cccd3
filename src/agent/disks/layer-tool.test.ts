/** What is written down of layers is there after a power cut: memory that was kept is never gone on with twice. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it, onTestFinished, vi } from "vitest";
import type { KeptMemory } from "./layer-records.ts";
import { QEMU_IMG } from "./layer-tool.ts";
import { Layers } from "./layers.ts";

/** What was flushed, and what was there then. */
const flushed: { path: string; text: string | undefined }[] = [];
let file = "";
vi.mock("../../system/flush.ts", () => ({
  flush: async (path: string) => {
    flushed.push({ path, text: existsSync(file) ? readFileSync(file, "utf8") : undefined });
  },
}));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-layers-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  flushed.length = 0;
});

it("a file that took the place of another, in a folder that is new, too", async () => {
  file = join(folder, "snapshots/a.json");
  await QEMU_IMG.replace(file, "1");
  expect(flushed).toEqual([
    { path: folder, text: undefined },
    { path: join(folder, "snapshots"), text: "1" },
  ]);
  await QEMU_IMG.replace(file, "2");
  expect(flushed.slice(2)).toEqual([{ path: join(folder, "snapshots"), text: "2" }]);
});

it("that one is gone; what was not there costs nothing", async () => {
  file = join(folder, "a");
  await QEMU_IMG.remove(file);
  expect(flushed).toEqual([]);
  writeFileSync(file, "1");
  await QEMU_IMG.remove(file);
  expect(flushed).toEqual([{ path: folder, text: undefined }]);
});

it("that a memory has been gone on with, before the guest runs", async () => {
  file = join(folder, "layers.json");
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
  expect(flushed.at(-1)?.text).toContain("suspended");
  await memories.resumed();
  expect(flushed.at(-1)).toEqual({ path: folder, text: '{"active":{}}' });
});
