/** Every file that work which was cut short leaves in a machine's folder is found, and nothing else is. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { makeLayer, pretendTool } from "../testing/pretend-layers.ts";
import { ForeignDiskError } from "./bases.ts";
import { LayerFolder } from "./layer-folder.ts";
import type { KeptMemory } from "./layer-records.ts";
import { Layers } from "./layers.ts";
import { leftFiles, removeLeft } from "./left-files.ts";

const USER = { uid: 0, gid: 0 };
const FACTS = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Crash" } as const;
const [A, B, C] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"].map((s) => `${s}-0000-4000-8000-000000000000`) as [
  string,
  string,
  string,
];
const tool = pretendTool(new Map(), () => false);
let folder: string;
let layers: Layers;

beforeEach(() => {
  const pool = mkdtempSync(join(tmpdir(), "vireo-left-"));
  onTestFinished(() => rmSync(pool, { recursive: true }));
  folder = join(pool, "web");
  makeLayer(join(folder, "root.qcow2"));
  layers = new Layers(folder, ["root"], USER, tool);
});

const make = (...files: string[]) => {
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), "x");
  }
};
const LATER = Date.now() + 3_600_000;
const fail = (error: unknown) => {
  throw error;
};
const left = async (beforeMs = LATER, unread: (error: unknown) => void = fail) =>
  (await leftFiles(folder, new LayerFolder(folder, USER, tool), beforeMs, unread))
    .map((path) => relative(folder, path))
    .sort();

it("what a suspension, a snapshot and a rollback leave that are cut short", async () => {
  const memory = `snapshots/${C}.memory`;
  make(
    "suspended.memory",
    "suspended.memory.ram.boot",
    memory,
    `${memory}.ram`,
    `${memory}.ram.boot`,
    "root.qcow2.new",
  );
  // Made before its record.
  await tool.create(join(folder, "root-cccccccc0000.qcow2"), join(folder, "root.qcow2"), 0, USER);
  expect(await left()).toEqual([
    "root-cccccccc0000.qcow2",
    "root.qcow2.new",
    memory,
    `${memory}.ram`,
    `${memory}.ram.boot`,
    "suspended.memory",
    "suspended.memory.ram.boot",
  ]);
  // Whoever makes these now is not told from who made them then, but by time.
  expect(await left(0)).toEqual(["root-cccccccc0000.qcow2", memory, `${memory}.ram`, `${memory}.ram.boot`]);
});

it("not what is recorded, being made or merged, or is not ours", async () => {
  await layers.begin(A);
  await layers.finish(A, FACTS);
  await layers.begin(B); // and no further
  make(`snapshots/${A}.memory`, `snapshots/${B}.memory`, "tpm/state", "boot.json", "seed.img", "notes.txt");
  const memory: KeptMemory = {
    machineType: "pc-q35-7.2",
    accelerator: "tcg",
    cpus: 1,
    memory: "64Mi",
    networks: [],
    sizeBytes: 1,
    live: false,
  };
  make("suspended.memory");
  await layers.memories.suspended({ run: "r", time: "t", saveMs: 1, memory });
  expect(await left()).toEqual([]);
});

it("one that has come into use at the last moment stays", async () => {
  make("suspended.memory");
  const path = join(folder, "suspended.memory");
  await removeLeft(path, 0);
  expect(await left()).toEqual(["suspended.memory"]);
  await removeLeft(path, LATER);
  expect(await left()).toEqual([]);
});

it("a layer that cannot be read is told, and what else is left is found all the same", async () => {
  const overlay = join(folder, "root-cccccccc0000.qcow2");
  await tool.create(overlay, "/etc/shadow", 0, USER);
  make("root.qcow2.new", `snapshots/${C}.memory`);
  const unread = vi.fn();
  expect(await left(LATER, unread)).toEqual(["root.qcow2.new", `snapshots/${C}.memory`]);
  expect(unread.mock.calls).toEqual([[expect.any(ForeignDiskError)]]);
});

it("heads of layers are read only when one is not recorded", async () => {
  const heads = vi.spyOn(LayerFolder.prototype, "layers");
  onTestFinished(() => heads.mockRestore());
  for (const uid of [A, B]) {
    await layers.begin(uid);
    await layers.finish(uid, FACTS);
  }
  heads.mockClear();
  expect(await left()).toEqual([]);
  expect(heads).not.toHaveBeenCalled();
  // What another one stands on is needed, whoever made it.
  const [made, other] = [join(folder, "root-cccccccc0000.qcow2"), join(folder, "root-dddddddd0000.qcow2")];
  await tool.create(made, join(folder, "root.qcow2"), 0, USER);
  await tool.create(other, made, 0, USER);
  expect(await left()).toEqual(["root-dddddddd0000.qcow2"]);
  expect(heads).toHaveBeenCalledTimes(1);
});
