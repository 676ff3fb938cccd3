/** Stored objects through a change of the version that their kind is stored in: at the start, twice, cut short, with old servers beside. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Kind } from "../resource/kind.ts";
import { overlay } from "../store/overlay.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { Operations } from "./operations.ts";
import { StoredVersionError } from "./stored-versions.ts";
import { Box, BoxBefore } from "./testing/boxes.ts";
import { user } from "./testing/machines.ts";

let folder: string;
let store: Store;
let opened: Operations[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-versions-"));
  store = await openSqliteStore(join(folder, "store.sqlite"));
});
afterEach(async () => {
  for (const operations of opened) await operations.close();
  opened = [];
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});
async function open(kind: Kind, on = store): Promise<Operations> {
  const operations = await Operations.open(on, [kind]);
  opened.push(operations);
  return operations;
}

const COUNT = 450;
const name = (i: number) => `b${String(i).padStart(3, "0")}`;
/** What the release before has left in the store: as it wrote it itself. */
async function storeOld(count = COUNT): Promise<void> {
  const before = await open(BoxBefore);
  await Promise.all(
    Array.from({ length: count }, (_, i) =>
      before.create(
        BoxBefore,
        "default",
        { apiVersion: "vireo.dev/v1alpha1", kind: "Box", metadata: { name: name(i) }, spec: { ram: i + 1 } },
        { user },
      ),
    ),
  );
  before.close();
}
const storedVersions = async () => {
  const { entries } = await store.range("boxes/");
  return entries.map(({ value }): unknown => JSON.parse(value).apiVersion);
};
const specs = async (operations: Operations, kind: Kind) =>
  (await operations.list(kind, {})).items.map(({ spec }) => spec);
const inV1 = (count = COUNT) =>
  Array.from({ length: count }, (_, i) => ({ memory: `${i + 1}Mi`, mode: "a" }));

it("turns what is stored into the new version, field owners and all; done again it writes nothing", async () => {
  await storeOld();
  const uids = (await store.range("boxes/")).entries.map(({ value }) => JSON.parse(value).metadata.uid);
  const once = await open(Box);
  expect(once.invalid).toEqual([]);
  expect(await specs(once, Box)).toEqual(inV1());
  expect(new Set(await storedVersions())).toEqual(new Set(["vireo.dev/v1"]));
  const after = store.revision();
  once.close();

  const twice = await open(Box);
  expect(store.revision()).toBe(after);
  expect(await specs(twice, Box)).toEqual(inV1());
  expect((await twice.list(Box, {})).items.map(({ metadata }) => metadata.uid)).toEqual(uids);
  // Who wrote a field in the old version owns it in the new one: another's apply conflicts.
  const config = (memory: string) => ({
    apiVersion: "vireo.dev/v1",
    kind: "Box",
    metadata: { name: name(0) },
    spec: { memory },
  });
  const apply = (memory: string, force: boolean) =>
    twice.patch(
      Box,
      "default",
      name(0),
      { type: "apply", body: config(memory), force, mayCreate: false },
      { user, fieldManager: "else" },
    );
  await expect(apply("7Mi", false)).rejects.toThrow(/conflict with "tester".*v1alpha1.*\.spec\.ram/s);
  expect((await apply("7Mi", true)).object.spec).toEqual({ memory: "7Mi", mode: "a" });
});

it("goes on where it was cut short", async () => {
  await storeOld();
  const done: Promise<unknown>[] = [];
  const dying = overlay(store, {
    async commit(write) {
      if (done.length === 130) {
        await Promise.all(done);
        throw new Error("the server was killed here");
      }
      const committed = store.commit(write);
      done.push(committed);
      return committed;
    },
  });
  await expect(open(Box, dying)).rejects.toThrow("killed here");
  const versions = await storedVersions();
  expect(versions.filter((version) => version === "vireo.dev/v1")).toHaveLength(130);
  expect(await specs(await open(Box), Box)).toEqual(inV1());
  expect(new Set(await storedVersions())).toEqual(new Set(["vireo.dev/v1"]));
});

it("is done by several servers at once", async () => {
  await storeOld();
  const before = store.revision();
  const servers = await Promise.all([open(Box), open(Box), open(Box)]);
  for (const server of servers) expect(await specs(server, Box)).toEqual(inV1());
  // Each object was written once.
  expect(store.revision() - before).toBe(COUNT);
});

it("lets servers of the release before work on beside new ones", async () => {
  await storeOld(3);
  const before = await open(BoxBefore);
  const now = await open(Box);
  const patch = (server: Operations, kind: Kind, i: number, spec: object) =>
    server.patch(kind, "default", name(i), { type: "merge", body: { spec } }, { user });
  await patch(before, BoxBefore, 0, { ram: 100 });
  await patch(now, Box, 1, { memory: "200Mi" });
  await patch(now, Box, 0, { mode: "b" });
  await patch(before, BoxBefore, 2, { mode: "c" });
  expect(await specs(now, Box)).toEqual([
    { memory: "100Mi", mode: "b" },
    { memory: "200Mi", mode: "a" },
    { memory: "3Mi", mode: "c" },
  ]);
  expect(await specs(before, BoxBefore)).toEqual([
    { ram: 100, mode: "b" },
    { ram: 200, mode: "a" },
    { ram: 3, mode: "c" },
  ]);
  // Watches from before, too, tell of nothing but the version that they were asked for.
  const seen: unknown[] = [];
  const stop = await now.watch(Box, { resourceVersion: "1" }, (event) => {
    if (event.type !== "BOOKMARK") seen.push(event.object.apiVersion);
  });
  stop();
  expect(new Set(seen)).toEqual(new Set(["vireo.dev/v1"]));
});

const newer = (version: string) =>
  JSON.stringify({ apiVersion: version, kind: "Box", metadata: { name: "x" } });

it("does not start on what a newer version wrote, and leaves it alone", async () => {
  await storeOld(1);
  await store.commit({ key: "boxes/default/x", expected: 0, value: newer("vireo.dev/v9") });
  const revision = store.revision();
  const starting = open(Box);
  await expect(starting).rejects.toBeInstanceOf(StoredVersionError);
  await expect(starting).rejects.toThrow(
    'boxes default/x is stored as "vireo.dev/v9", which this version of Vireo does not know (it knows v1, v1alpha1); start the version that wrote it, or one newer',
  );
  expect(store.revision()).toBe(revision);
});

it("ends when a newer version writes beside it", async () => {
  const running = await open(Box);
  await store.commit({ key: "boxes/default/x", expected: 0, value: newer("vireo.dev/v9") });
  expect((await running.failed).message).toContain("boxes default/x is stored as");
});

it("does not start on what cannot be turned, and leaves it alone", async () => {
  await storeOld(1);
  const broken: Kind = {
    ...Box,
    versions: (Box.versions ?? []).map((declared) => ({
      ...declared,
      toStored: () => {
        throw new Error("a mistake of ours");
      },
    })),
  };
  await expect(open(broken)).rejects.toThrow("boxes default/b000 is stored as");
  expect(await storedVersions()).toEqual(["vireo.dev/v1alpha1"]);
});
