import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openSqliteStore } from "./sqlite.ts";
import { NotWritten } from "./store.ts";
import { writableStore } from "./writable.ts";

it("writes nothing while something else forbids it, says so, and goes on by itself", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-writable-"));
  const inner = await openSqliteStore(join(folder, "store.sqlite"));
  let why: string | undefined;
  const told: (string | undefined)[] = [];
  const { store, trouble } = writableStore(
    inner,
    (now) => told.push(now),
    () => why,
  );
  const put = (key: string) => store.commit({ key, expected: 0, value: "{}" });
  await put("a");
  why = "the log is full";
  await expect(put("b")).rejects.toBeInstanceOf(NotWritten);
  expect(trouble()).toBe("the log is full");
  expect((await store.range("")).entries.map(({ key }) => key)).toEqual(["a"]);
  why = undefined;
  await put("b");
  expect(told).toEqual(["the log is full", undefined]);
  await store.close();
  rmSync(folder, { recursive: true });
});
