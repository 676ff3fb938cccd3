/** Turns at a file, by the real flock. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withFileLock } from "./file-lock.ts";
import { run } from "./run.ts";

describe("a lock of a file", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "vireo-lock-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("is held by one at a time, and by the next when that one fails", async () => {
    const path = join(folder, "turns");
    const inside: number[] = [];
    let now = 0;
    const turn = (fail: boolean) =>
      withFileLock(
        path,
        async () => {
          inside.push(++now);
          await new Promise((resolve) => setImmediate(resolve));
          now -= 1;
          if (fail) throw new Error("failed");
        },
        { timeoutMs: 30_000 },
      );
    const all = await Promise.allSettled([turn(true), turn(false), turn(true)]);
    expect(all.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected"]);
    expect(inside).toEqual([1, 1, 1]);
  });

  it("is another process', too; who waits for it is not kept for ever, and may give up", async () => {
    const path = join(folder, "other");
    await withFileLock(
      path,
      async () => {
        await expect(run("flock", ["--nonblock", path, "true"])).rejects.toThrow("ended with code 1");
        const wait = (options: { timeoutMs: number; signal?: AbortSignal }) =>
          withFileLock(path, () => Promise.reject(new Error("got in")), options);
        await expect(wait({ timeoutMs: 100 })).rejects.toThrow("another process has held it for 0.1 s");
        const given = new AbortController();
        const waiting = wait({ timeoutMs: 30_000, signal: given.signal });
        given.abort(new Error("given up"));
        await expect(waiting).rejects.toThrow("given up");
      },
      { timeoutMs: 30_000 },
    );
    await run("flock", ["--wait", "10", path, "true"]);
  });

  it("of a folder that is not there says so", async () => {
    const path = join(folder, "no", "lock");
    await expect(withFileLock(path, async () => {}, { timeoutMs: 1000 })).rejects.toThrow("No such file");
  });
});
