/** Storage pools that do not answer, as those of a file server that is gone: they hold up neither other pools nor the process. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { modify } from "../client/client.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { systemClock } from "../reconcile/clock.ts";
import { silentLogger } from "../reconcile/log.ts";
import { runBuildReconciler } from "./build-reconciler.ts";
import { ImageCollector } from "./garbage/collector.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { Pools } from "./pool.ts";
import { runImageReconciler } from "./reconciler.ts";
import { signerOf } from "./trust/signature.ts";

const PATIENCE = { beginMs: 20, giveUpMs: 60, everyMs: 5 };
const pool = (path: string) => ({ spec: { directory: { path, shared: true } } }) as StoragePool;
const SILENT = /the storage pool \S+ does not answer; is its file server up/;

/** Pools of which some do not answer. */
function pretended() {
  const gone = new Map<string, () => void>();
  const asked: string[] = [];
  const pools = new Pools((path) => {
    asked.push(path);
    return gone.has(path)
      ? new Promise<void>((resolve) => gone.set(path, resolve))
      : Promise.reject(new Error("ENOENT"));
  }, PATIENCE);
  const back = (path: string) => {
    const answer = gone.get(path);
    gone.delete(path);
    answer?.();
  };
  return { pools, asked, leave: (path: string) => void gone.set(path, () => {}), back };
}
const never = new AbortController().signal;

describe("a pool that does not answer", () => {
  it("is asked once, however many come, and takes no more of them until it is back", async () => {
    const { pools, asked, leave, back } = pretended();
    leave("/gone");
    const all = await Promise.allSettled(Array.from({ length: 50 }, () => pools.folderOf(pool("/gone"))));
    expect(all.every((each) => each.status === "rejected" && SILENT.test(String(each.reason)))).toBe(true);
    await expect(pools.folderOf(pool("/gone"))).rejects.toThrow(SILENT);
    expect(asked).toEqual(["/gone"]);
    await expect(pools.folderOf(pool("/here"))).resolves.toBe("/here/images");
    back("/gone");
    await expect(pools.folderOf(pool("/gone"))).resolves.toBe("/gone/images");
  });

  it("has what is under way in it given up, which is told to end", async () => {
    const { pools, leave } = pretended();
    const work = pools.whileAllAnswer(["/here/images", "/gone/images"], never, (signal) => {
      leave("/gone");
      return new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(new Error("too late")));
      });
    });
    await expect(work).rejects.toThrow(SILENT);
  });

  it("has what is under way in it go on when it is back in time", async () => {
    const { pools, asked, leave, back } = pretended();
    const work = pools.whileAnswering("/gone/images", never, async (signal) => {
      leave("/gone");
      await expect.poll(() => asked.length).toBe(1);
      back("/gone");
      await expect.poll(() => asked.length).toBeGreaterThan(20);
      return signal.aborted;
    });
    await expect(work).resolves.toBe(false);
  });
});

describe("where one pool does not answer", () => {
  let folder: string;
  let plane: TestControlPlane;
  let stop: AbortController;
  let ended: Promise<unknown>;
  const { pools, leave } = pretended();
  const recipe = { distribution: "debian" as const, release: "bookworm" as const, packages: [] };
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "vireo-pool-"));
    plane = await openControlPlane();
    for (const name of ["gone", "here"]) {
      const directory = { path: join(folder, name), shared: true };
      await plane.client.create(StoragePool, { metadata: { name }, spec: { directory } });
      mkdirSync(join(directory.path, "images"), { recursive: true });
    }
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    // What hangs ends when somebody else opens it, too.
    closeSync(openSync(join(folder, "gone/images/web.qcow2"), constants.O_RDWR | constants.O_NONBLOCK));
    await ended;
    await plane.close();
    rmSync(folder, { recursive: true });
  });
  const context = () => ({
    client: plane.client,
    clock: systemClock,
    log: silentLogger,
    signal: stop.signal,
    pools,
  });
  /** Whoever opens it waits for the other end. */
  const hang = () => execFileSync("mkfifo", [join(folder, "gone/images/web.qcow2")]);

  it("a build that hangs in it is given up, and the next one is carried out", async () => {
    hang();
    const { client } = plane;
    await client.create(Image, { metadata: { name: "web" }, spec: { storagePool: "gone", recipe } });
    await modify(client, Image, { name: "web" }, "status", (now) => ({
      ...now,
      status: { phase: "Ready" as const, file: "web.qcow2" },
    }));
    const build = (name: string, spec: Partial<ImageBuild["spec"]>) =>
      client.create(ImageBuild, {
        metadata: { name },
        spec: { image: "web", recipe, verify: true, ...spec },
      });
    await build("web-1", { storagePool: "gone" });
    ended = runBuildReconciler({
      ...context(),
      signer: signerOf(Buffer.alloc(32, 1)),
      cache: join(folder, "cache"),
    });
    const status = async (name: string) => (await client.get(ImageBuild, { name }))?.status;
    await build("web-2", { storagePool: "here" });
    await expect.poll(() => existsSync(join(folder, "gone/build-logs"))).toBe(true);
    leave(join(folder, "gone"));
    await expect.poll(async () => (await status("web-1"))?.phase).toBe("Failed");
    expect((await status("web-1"))?.message).toMatch(SILENT);
    await expect.poll(async () => (await status("web-2"))?.message).toMatch(/is in the pool gone/);
  });

  it("an image in the other one is looked at, however many are in it", async () => {
    hang();
    const { client } = plane;
    leave(join(folder, "gone"));
    const disk = Buffer.alloc(4096);
    disk.set([0x55, 0xaa], 510);
    writeFileSync(join(folder, "here/images/web.raw"), disk);
    for (let n = 1; n <= 6; n++)
      await client.create(Image, {
        metadata: { name: `gone-${n}` },
        spec: { storagePool: "gone", file: "web.qcow2" },
      });
    await client.create(Image, {
      metadata: { name: "here" },
      spec: { storagePool: "here", file: "web.raw" },
    });
    ended = runImageReconciler(context());
    const status = async (name: string) => (await client.get(Image, { name }))?.status;
    await expect.poll(async () => (await status("here"))?.phase).toBe("Ready");
    await expect.poll(async () => (await status("gone-6"))?.conditions?.[0]?.message).toMatch(SILENT);
  });

  it("nothing is removed, and the next look is not held up", async () => {
    hang();
    leave(join(folder, "gone"));
    const collector = new ImageCollector(context(), { everyMs: 1, graceMs: 0, scanMs: 0 });
    for (let pass = 0; pass < 2; pass++) await expect(collector.pass()).resolves.toEqual([]);
  });
});
