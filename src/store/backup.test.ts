import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { BackupError, backupLines, readBackup, restoreEntries } from "./backup.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

let folder: string;
let stores: Store[] = [];
const open = async (name: string) => {
  const store = await openSqliteStore(join(folder, name));
  stores.push(store);
  return store;
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-backup-"));
});
afterEach(async () => {
  for (const store of stores) await store.close();
  stores = [];
  rmSync(folder, { recursive: true });
});

const about = { time: "2026-01-01T00:00:00Z", version: "1.2.3", files: { "ca.key": "secret\n" } };
async function textOf(store: Store): Promise<string> {
  let text = "";
  for await (const line of backupLines(store, about)) text += line;
  return text;
}
async function* linesOf(text: string): AsyncGenerator<string> {
  yield* text.split("\n").slice(0, -1);
}

it("holds what there was at one moment, and restores it with higher revisions", async () => {
  const store = await open("a");
  for (let i = 0; i < 1200; i++) await store.commit({ key: `x/${i}`, value: `ä${i}\n`, expected: 0 });
  const lines = backupLines(store, about);
  let text = String((await lines.next()).value);
  await store.commit({ key: "x/late", value: "1", expected: 0 });
  for await (const line of lines) text += line;
  const backup = await readBackup(linesOf(text));
  expect(backup.files).toEqual(about.files);
  const other = await open("b");
  await restoreEntries(other, backup);
  const { entries } = await other.range("");
  const before = (await store.range("")).entries.filter(({ key }) => key !== "x/late");
  expect(entries.map(({ key, value }) => [key, value])).toEqual(before.map(({ key, value }) => [key, value]));
  expect(Math.min(...entries.map(({ revision }) => revision))).toBeGreaterThan(store.revision());
});

it("is refused when it is cut off, changed, or something else, naming the line", async () => {
  const store = await open("a");
  await store.commit({ key: "x/a", value: "1", expected: 0 });
  const text = await textOf(store);
  for (const [broken, message] of [
    [
      text.split("\n").slice(0, -2).join("\n").concat("\n"),
      "line 3: the backup is cut off: its end is missing",
    ],
    [text.replace('"value":"1"', '"value":"2"'), "line 4: the checksum does not match"],
    [
      text.replace('"vireoBackup":1', '"vireoBackup":9'),
      "the backup has format 9, and this version reads format 1",
    ],
    ["kind: Pod\n", "line 1: is not JSON"],
    ["{}\n", "line 1: is not the head of a backup"],
    ["", "the backup is cut off"],
    [`${text}{}\n`, "line 5: there is more after the end"],
    [text.replace('"ca.key"', '"../ca.key"'), "line 2: has a file name that is none"],
  ] as const) {
    const error = await readBackup(linesOf(broken)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BackupError);
    expect(String(error)).toContain(message);
  }
});

it("never overwrites", async () => {
  const store = await open("a");
  await store.commit({ key: "x/a", value: "1", expected: 0 });
  const backup = await readBackup(linesOf(await textOf(store)));
  await expect(restoreEntries(store, backup)).rejects.toThrow("the store is not empty");
});
