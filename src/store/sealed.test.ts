import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type SealingKeys, seal, sealedStore, unseal } from "./sealed.ts";
import { openSqliteStore } from "./sqlite.ts";
import { testStore } from "./testing/conformance.ts";

const KEYS: SealingKeys = { current: "a", keys: { a: randomBytes(32), b: randomBytes(32) } };

testStore("A sealed SqliteStore", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-sealed-"));
  const open = async () =>
    sealedStore(await openSqliteStore(join(folder, "store.sqlite")), ["x/"], KEYS, (key) => {
      throw new Error(`${key} cannot be read`);
    });
  let store = await open();
  return {
    store,
    another: async () => store,
    async reopen() {
      await store.close();
      store = await open();
      return store;
    },
    async remove() {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});

it("a sealed value opens with its key, under its name, unchanged, and in no other way", () => {
  const sealed = seal(KEYS, "x/a", "hush");
  expect(sealed).not.toContain("hush");
  expect(seal(KEYS, "x/a", "hush")).not.toBe(sealed);
  expect(unseal(KEYS, "x/a", sealed)).toBe("hush");
  expect(unseal({ ...KEYS, current: "b" }, "x/a", sealed)).toBe("hush");
  expect(unseal(KEYS, "x/b", sealed)).toBeUndefined();
  expect(
    unseal({ current: "b", keys: { b: KEYS.keys.b ?? Buffer.alloc(32) } }, "x/a", sealed),
  ).toBeUndefined();
  for (const broken of [
    `${sealed}A`,
    sealed.replace("sealed:a", "sealed:b"),
    sealed.slice(0, -4),
    "hush",
    "",
  ])
    expect(unseal(KEYS, "x/a", broken)).toBeUndefined();
});

it("nothing of it is in the files; without the key it is left out, and it is back when the key is", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-sealed-"));
  const path = join(folder, "store.sqlite");
  const unreadable: string[] = [];
  const open = async (keys: SealingKeys) =>
    sealedStore(await openSqliteStore(path), ["x/"], keys, (key) => unreadable.push(key));
  try {
    let store = await open(KEYS);
    await store.commit({ key: "x/a", value: "very secret", expected: 0 });
    await store.commit({ key: "y/a", value: "open", expected: 0 });
    await store.close();
    expect(readFileSync(path).includes("very secret")).toBe(false);
    expect(readFileSync(path).includes("open")).toBe(true);
    store = await open({ current: "c", keys: { c: randomBytes(32) } });
    expect((await store.range("")).entries.map(({ key }) => key)).toEqual(["y/a"]);
    expect(unreadable).toEqual(["x/a"]);
    await store.close();
    store = await open(KEYS);
    expect((await store.get("x/a"))?.value).toBe("very secret");
    await store.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
