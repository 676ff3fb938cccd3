/** Logs of builds: as long as they may be, kept in the pool for every control plane, and gone with their builds. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { systemClock } from "../reconcile/clock.ts";
import { silentLogger } from "../reconcile/log.ts";
import { BuildLog, logFile, removeEarlierLogs } from "./build-log.ts";
import { runBuildReconciler } from "./build-reconciler.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { signerOf } from "./trust/signature.ts";

const recipe = { distribution: "debian" as const, release: "bookworm" as const, packages: [] };
const now = () => new Date("2030-01-02T03:04:05.000Z");
let folder: string;
let images: string;
let plane: TestControlPlane;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-build-log-"));
  images = join(folder, "pool/images");
  plane = await openControlPlane();
  const directory = { path: join(folder, "pool") };
  await plane.client.create(StoragePool, { metadata: { name: "default" }, spec: { directory } });
});
afterEach(async () => {
  await plane.close();
  rmSync(folder, { recursive: true });
});

const make = (name: string) =>
  plane.client.create(ImageBuild, { metadata: { name }, spec: { image: "brought", recipe } });

it("keeps the beginning and the end of one that says too much", async () => {
  const build = await make("web-1");
  const failed = (error: Error) => expect.fail(error.message);
  const log = await BuildLog.begin(images, build, { now, failed, head: 200, tail: 100 });
  for (let i = 1; i <= 20; i++) log.say(`line ${i}`);
  await log.end();
  const said = readFileSync(logFile(images, build), "utf8").trim().split("\n");
  expect(said.map((line) => line.replace(/^2030-01-02T03:04:05\.000Z /, ""))).toEqual([
    ...["line 1", "line 2", "line 3", "line 4", "line 5", "line 6"],
    "… 11 lines are left out …",
    ...["line 18", "line 19", "line 20"],
  ]);
});

it("stays for other control planes, and goes with its build, whether one runs then or not", async () => {
  const { client } = plane;
  await client.create(Image, { metadata: { name: "brought" }, spec: { file: "b.qcow2" } });
  const begin = () => {
    const stop = new AbortController();
    const more = { signer: signerOf(Buffer.alloc(32, 1)), cache: join(folder, "cache") };
    const context = { client, clock: systemClock, log: silentLogger, signal: stop.signal, ...more };
    const ended = runBuildReconciler(context);
    return async () => {
      stop.abort();
      await ended;
    };
  };
  const failed = async (build: ImageBuild) => {
    const get = async () => (await client.get(ImageBuild, { name: build.metadata.name }))?.status?.phase;
    await expect.poll(get).toBe("Failed");
  };
  let end = begin();
  const [first, second] = [await make("web-1"), await make("web-2")];
  await failed(first);
  await failed(second);
  await end();
  expect(readFileSync(logFile(images, first), "utf8")).toMatch(
    /^\S+ failed: spec\.image: image\/brought is a file that was brought along; name another image\n$/,
  );
  await client.delete(ImageBuild, { name: "web-1" });
  end = begin();
  await expect.poll(() => existsSync(logFile(images, first))).toBe(false);
  expect(existsSync(logFile(images, second))).toBe(true);
  await client.delete(ImageBuild, { name: "web-2" });
  await expect.poll(() => readdirSync(join(folder, "pool/build-logs"))).toEqual([]);
  await end();
});

it("those that an older Vireo had beside the control plane's own logs go, and these stay", async () => {
  const logs = join(folder, "logs");
  mkdirSync(join(logs, "builds"), { recursive: true });
  writeFileSync(join(logs, "builds/web-1.log"), "x");
  writeFileSync(join(logs, "server.log"), "x");
  for (let time = 0; time < 2; time++) await removeEarlierLogs(logs);
  expect(readdirSync(logs)).toEqual(["server.log"]);
});
