import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";
import { testStore } from "./testing/conformance.ts";

testStore("SqliteStore", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-store-"));
  const path = join(folder, "store.sqlite");
  let store: Store = await openSqliteStore(path);
  return {
    store,
    another: async () => store,
    async reopen() {
      await store.close();
      store = await openSqliteStore(path);
      return store;
    },
    async remove() {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});

describe("SqliteStore", () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "vireo-store-"));
    path = join(folder, "store.sqlite");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("is readable by its owner only", async () => {
    const store = await openSqliteStore(path);
    await store.commit({ key: "x/a", value: "1", expected: 0 });
    for (const file of [path, `${path}-wal`].filter(existsSync)) expect(statSync(file).mode & 0o077).toBe(0);
    await store.close();
  });

  it("keeps a process that closes it alive until it is closed", async () => {
    const program = join(folder, "close.mjs");
    writeFileSync(
      program,
      `import { openSqliteStore } from ${JSON.stringify(new URL("./sqlite.ts", import.meta.url).href)};
      for (let i = 0; i < 40; i++) await (await openSqliteStore(${JSON.stringify(path)})).close();
      console.log("closed");`,
    );
    const child = spawn(process.execPath, [program]);
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data: Buffer) => {
        output += data;
      });
    await new Promise((done) => child.once("close", done));
    expect(output).toBe("closed\n");
  });

  it("is used by one process at a time", async () => {
    const store = await openSqliteStore(path);
    await expect(openSqliteStore(path)).rejects.toThrow("another control plane is using it");
    await store.commit({ key: "x/a", value: "1", expected: 0 });
    await store.close();
  });

  it("refuses files that are not its own, naming them", async () => {
    writeFileSync(path, "not a database, but long enough to be read as the header of one ".repeat(50));
    await expect(openSqliteStore(path)).rejects.toThrow(`${path}: cannot be opened as the store: it is not`);
    const other = join(folder, "other.sqlite");
    await (await openSqliteStore(other)).close();
    const db = new DatabaseSync(other);
    db.exec("UPDATE meta SET value = 99 WHERE name = 'format'");
    db.close();
    await expect(openSqliteStore(other)).rejects.toThrow("has format 99");
    await expect(openSqliteStore(join(folder, "none", "store"))).rejects.toThrow(
      `none/store: cannot be opened as the store: there is no folder ${join(folder, "none")}; make it`,
    );
    await expect(openSqliteStore(folder)).rejects.toThrow("it is not a file; move it away");
  });

  it("commits what waits when it is closed, and refuses what comes later", async () => {
    const store = await openSqliteStore(path);
    const waiting = store.commit({ key: "x/a", value: "1", expected: 0 });
    await store.close();
    await waiting;
    await expect(store.commit({ key: "x/b", value: "1", expected: 0 })).rejects.toThrow("closed");
    const again = await openSqliteStore(path);
    expect((await again.get("x/a"))?.value).toBe("1");
    await again.close();
  });

  it("answers reads of what is in memory while a commit waits for the disk", async () => {
    const store = await openSqliteStore(path);
    let turns = 0;
    const turning = setInterval(() => turns++, 1);
    const large = "x".repeat(2 ** 20);
    // Some tens of MiB through fsync, on a thread of its own: this one goes on.
    await Promise.all(
      Array.from({ length: 64 }, (_, i) => store.commit({ key: `x/${i}`, value: large, expected: 0 })),
    );
    clearInterval(turning);
    expect(turns).toBeGreaterThan(5);
    await store.close();
  });

  it("keeps one writer's failure from the others of its group", async () => {
    const store = await openSqliteStore(path);
    const results = await Promise.allSettled([
      store.commit({ key: "x/a", value: "1", expected: 0 }),
      store.commit({ key: "x/b", value: "1", expected: 9 }),
      store.commit({ key: "x/c", value: "1", expected: 0 }),
    ]);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const { entries, revision } = await store.range("x/");
    expect(entries.map((entry) => [entry.key, entry.revision])).toEqual([
      ["x/a", revision - 1],
      ["x/c", revision],
    ]);
    await store.close();
  });

  it("says that its disk takes no more, has changed nothing then, and goes on when there is room again", async () => {
    const script = fileURLToPath(new URL("./testing/until-full.ts", import.meta.url));
    const args = ["--fsize=2000000:unlimited", process.execPath, script, path];
    const { stdout } = await promisify(execFile)("prlimit", args);
    const { messages, key, before, revision } = JSON.parse(stdout);
    const failing = expect.stringMatching(/^its disk fails \(disk I\/O error\)/);
    const opened = expect.stringContaining(
      `${path}.new: cannot be opened as the store: its disk fails (disk I/O error); look at the disk`,
    );
    expect(messages).toEqual([failing, failing, failing, opened]);
    expect(before).toEqual([revision - 1, key - 1]);
  });

  it("has every acknowledged write after kill -9, a dozen times over", async () => {
    const script = fileURLToPath(new URL("./testing/writer.ts", import.meta.url));
    const acknowledged = new Map<string, { value: string; revision: number }>();
    let highest = 0;
    for (let round = 0; round < 12; round++) {
      const lines = 20 + round * 17;
      for (const line of await runAndKill(script, [path, String(round)], lines)) {
        const [key = "", value = "", text = ""] = line.split(" ");
        const revision = Number(text);
        expect(revision).toBeGreaterThan(highest);
        if (revision > (acknowledged.get(key)?.revision ?? 0)) acknowledged.set(key, { value, revision });
        highest = Math.max(highest, revision);
      }
      const store = await openSqliteStore(path);
      expect(store.revision()).toBeGreaterThanOrEqual(highest);
      // What was committed but not told any more may be newer; nothing may be older or in between.
      for (const [key, { value, revision }] of acknowledged) {
        const found = await store.get(key);
        expect(found?.revision).toBeGreaterThanOrEqual(revision);
        if (found?.revision === revision) expect(found.value).toBe(value);
      }
      const revisions: number[] = [];
      (await store.watch("", 1, (change) => revisions.push(change.revision)))();
      expect(revisions).toEqual(Array.from({ length: store.revision() - 1 }, (_, i) => i + 2));
      highest = store.revision();
      await store.close();
    }
    expect(acknowledged.size).toBe(9);
  });
});

/** Runs the script, kills it by SIGKILL once it has written so many lines, and gives all whole lines it wrote. */
async function runAndKill(script: string, args: string[], lines: number): Promise<string[]> {
  const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk));
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk;
    if (out.split("\n").length > lines) child.kill("SIGKILL");
  });
  const signal = await new Promise((resolve) => child.on("close", (_code, by) => resolve(by)));
  if (signal !== "SIGKILL") throw new Error(`the writer ended by itself: ${err}`);
  return out.split("\n").slice(0, -1);
}
