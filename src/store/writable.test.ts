import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { overlay } from "./overlay.ts";
import { openSqliteStore } from "./sqlite.ts";
import { NotWritten, WritesForbidden } from "./store.ts";
import { writableStore } from "./writable.ts";

it("writes nothing while something else forbids it, which is no trouble of the store, and goes on by itself", async () => {
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
  await expect(put("b")).rejects.toEqual(new WritesForbidden("the log is full"));
  expect(trouble()).toBeUndefined();
  expect((await store.range("")).entries.map(({ key }) => key)).toEqual(["a"]);
  why = undefined;
  await put("b");
  expect(told).toEqual([]);
  await store.close();
  rmSync(folder, { recursive: true });
});

it("tells when the store itself cannot write, and when it can again; what is forbidden meanwhile changes nothing of that", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-writable-"));
  const inner = await openSqliteStore(join(folder, "store.sqlite"));
  let isFull = true;
  let why: string | undefined;
  const told: (string | undefined)[] = [];
  const full = overlay(inner, {
    commit: (write) => (isFull ? Promise.reject(new NotWritten("its disk is full")) : inner.commit(write)),
  });
  const { store, trouble } = writableStore(
    full,
    (now) => told.push(now),
    () => why,
  );
  const put = () => store.commit({ key: "a", expected: 0, value: "{}" });
  await expect(put()).rejects.toBeInstanceOf(NotWritten);
  why = "the log is full";
  await expect(put()).rejects.toBeInstanceOf(WritesForbidden);
  expect(trouble()).toBe("its disk is full");
  why = undefined;
  isFull = false;
  await put();
  expect(told).toEqual(["its disk is full", undefined]);
  await store.close();
  rmSync(folder, { recursive: true });
});
