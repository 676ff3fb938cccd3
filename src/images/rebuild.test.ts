/** Images that are built anew when their packages have changed. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, onTestFinished } from "vitest";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane } from "../compute/testing/control-plane.ts";
import { silentLogger } from "../reconcile/log.ts";
import { SteppedClock } from "../reconcile/testing/stepped-clock.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { rebuildInMs } from "./rebuild.ts";
import { runImageReconciler } from "./reconciler.ts";

const HOUR_MS = 3600_000;
const recipe = {
  distribution: "debian" as const,
  release: "bookworm" as const,
  packages: ["busybox-static"],
};

let plane: Awaited<ReturnType<typeof openControlPlane>>;
let stop = new AbortController();
beforeEach(async () => {
  stop = new AbortController();
  plane = await openControlPlane();
});
afterEach(async () => {
  stop.abort();
  await plane.close();
});

it("is due so long after the newest build was over; never with a lock, nor while one is under way", () => {
  const image = (spec: Partial<Image["spec"]>): Image => ({
    apiVersion: "vireo.dev/v1",
    kind: "Image",
    metadata: { name: "web" },
    spec: { storagePool: "default", recipe, ...spec },
  });
  const build = (finishedTime?: string): ImageBuild => ({
    apiVersion: "vireo.dev/v1",
    kind: "ImageBuild",
    metadata: { name: "web-1" },
    spec: { image: "web", storagePool: "default", recipe },
    status: finishedTime ? { finishedTime } : {},
  });
  const now = new Date("2026-01-02T00:00:00Z");
  const done = build("2026-01-01T23:00:00Z");
  expect(rebuildInMs(image({ rebuildHours: 24 }), [done], now)).toBe(23 * HOUR_MS);
  expect(rebuildInMs(image({ rebuildHours: 1 }), [done], now)).toBe(0);
  expect(rebuildInMs(image({}), [done], now)).toBeUndefined();
  expect(rebuildInMs(image({ rebuildHours: 1 }), [build(), done], now)).toBeUndefined();
  expect(rebuildInMs(image({ rebuildHours: 1 }), [], now)).toBeUndefined();
  const locked = { ...recipe, lock: [{ name: "a1", version: "1", sha256: "0".repeat(64) }] };
  expect(rebuildInMs(image({ rebuildHours: 1, recipe: locked }), [done], now)).toBeUndefined();
});

it("a build is made when it is due, once; the image gets what it made, and what changed is told", async () => {
  const clock = new SteppedClock();
  const { client } = plane;

  void runImageReconciler({ client, clock, log: silentLogger, signal: stop.signal });
  const pool = mkdtempSync(join(tmpdir(), "vireo-rebuild-"));
  onTestFinished(() => rmSync(pool, { recursive: true }));
  await client.create(StoragePool, { metadata: { name: "default" }, spec: { directory: { path: pool } } });
  mkdirSync(join(pool, "images"));
  await client.create(Image, { metadata: { name: "web" }, spec: { recipe, rebuildHours: 2 } });
  const builds = async () =>
    (await client.list(ImageBuild)).items.map(({ metadata }) => metadata.name).sort();
  const finish = async (name: string, file: string, version: string) => {
    const build = await client.get(ImageBuild, { name });
    if (!build) throw new Error(`${name} is not there`);
    const packages = [{ name: "busybox-static", version }];
    writeFileSync(join(pool, "images", file), "");
    const finishedTime = clock.now().toISOString();
    await client.updateStatus(ImageBuild, {
      ...build,
      status: { phase: "Succeeded", file, format: "qcow2", packages, finishedTime },
    });
  };
  const image = async () => (await client.get(Image, { name: "web" }))?.status;
  const soon = <T>(look: () => Promise<T>) =>
    expect.poll(async () => {
      await clock.step(100);
      return look();
    });
  await soon(builds).toEqual(["web-1"]);
  await finish("web-1", "web-a.qcow2", "1.0");
  await soon(image).toMatchObject({ phase: "Ready", file: "web-a.qcow2" });
  await clock.step(HOUR_MS);
  expect(await builds()).toEqual(["web-1"]);
  await clock.step(HOUR_MS + 1000);
  await soon(builds).toEqual(["web-1", "web-2"]);
  expect(await image()).toMatchObject({ phase: "Ready", file: "web-a.qcow2" });
  await finish("web-2", "web-b.qcow2", "1.1");
  await soon(image).toMatchObject({ phase: "Ready", file: "web-b.qcow2", build: "web-2" });
  await clock.step(HOUR_MS);
  expect(await builds()).toEqual(["web-1", "web-2"]);
});
