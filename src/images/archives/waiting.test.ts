/** Builds that wait for archives of their recipes: what ends that, and when. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, utimesSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Operations } from "../../api/operations.ts";
import { FrozenClient } from "../../api/testing/frozen-client.ts";
import type { Client } from "../../client/client.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../../compute/testing/control-plane.ts";
import { KINDS } from "../../kinds.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { runBuildReconciler } from "../build-reconciler.ts";
import { ImageBuild } from "../kinds.ts";
import { signerOf } from "../trust/signature.ts";
import { archiveFile, archivesFolder, lastPartMs, receivePart } from "./store.ts";

const MINUTE_MS = 60_000;
const bytes = Buffer.alloc(2048, 5);
const sha256 = createHash("sha256").update(bytes).digest("hex");
const archive = { file: "a.tar", sha256, bytes: 2048 };
const recipe = {
  distribution: "debian" as const,
  release: "bookworm" as const,
  packages: [],
  archives: [archive],
};

let folder = "";
let store = "";
let plane: TestControlPlane;
let operations: Operations;
let client: Client;
let nowMs = 0;
let stop = new AbortController();
let ended: Promise<void> = Promise.resolve();
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-waiting-"));
  store = archivesFolder(join(folder, "images"));
  plane = await openControlPlane();
  nowMs = Date.now();
  operations = await Operations.open(plane.store, KINDS, { now: () => new Date(nowMs) });
  client = new FrozenClient(operations);
  stop = new AbortController();
  await client.create(StoragePool, { metadata: { name: "default" }, spec: { directory: { path: folder } } });
});
afterEach(async () => {
  stop.abort();
  await ended;
  await operations.close();
  await plane.close();
  rmSync(folder, { recursive: true, force: true });
});

const start = () => {
  const clock = { ...systemClock, now: () => new Date(nowMs) };
  const cache = join(folder, "cache");
  const signer = signerOf(Buffer.alloc(32, 1));
  ended = runBuildReconciler({ client, clock, log: silentLogger, signal: stop.signal, signer, cache });
};
const make = (name: string) =>
  client.create(ImageBuild, { metadata: { name }, spec: { image: "web", recipe } });
/** However busy the machine is that the test runs on. */
const PATIENT = { timeout: 15_000 };
const status = async (name: string) => (await client.get(ImageBuild, { name }))?.status;

it("an hour after the last part has come, however long the others took", async () => {
  const build = await make("web-1");
  await receivePart(store, archive, build, 0, bytes.subarray(0, 1000));
  nowMs += 90 * MINUTE_MS;
  const [part = ""] = await readdir(store);
  const last = (nowMs - 59 * MINUTE_MS) / 1000;
  utimesSync(join(store, part), last, last);
  expect(await lastPartMs(store, [archive], build)).toBeCloseTo(last * 1000, -1);
  start();
  await expect.poll(() => status("web-1"), PATIENT).toMatchObject({ phase: "Pending" });
  expect((await status("web-1"))?.message).toMatch(/^waits for a\.tar /);
  nowMs += 2 * MINUTE_MS;
  await expect.poll(() => status("web-1"), PATIENT).toMatchObject({ phase: "Failed" });
  expect((await status("web-1"))?.message).toMatch(/^nothing more has come for an hour; waits for a\.tar /);
});

it("what has come whole is looked at without another word of who sent it: another file ends the build", async () => {
  const build = await make("web-1");
  await receivePart(store, archive, build, 0, Buffer.alloc(2048, 6));
  start();
  await expect.poll(() => status("web-1"), PATIENT).toMatchObject({ phase: "Failed" });
  expect((await status("web-1"))?.message).toMatch(/^what came is not the a\.tar whose sha256 is /);
  expect(await readdir(store)).toEqual([]);
});

it("one that a later build of its image has overtaken is not built: the image keeps the newer recipe", async () => {
  const build = await make("web-1");
  nowMs += MINUTE_MS;
  const later = await make("web-2");
  await client.updateStatus(ImageBuild, { ...later, status: { phase: "Succeeded" } });
  await receivePart(store, archive, build, 0, bytes);
  start();
  await expect.poll(() => status("web-1"), PATIENT).toMatchObject({ phase: "Cancelled" });
  expect((await status("web-1"))?.message).toBe(
    "image/web was built by imagebuild/web-2 meanwhile, which was asked for later",
  );
  expect(existsSync(archiveFile(store, sha256))).toBe(true);
});
