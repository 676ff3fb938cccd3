import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterEach, beforeEach, expect, it } from "vitest";
import { keep, readKept } from "./kept.ts";

const Plan = Type.Array(Type.Object({ name: Type.String() }));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-kept-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("What is kept is read again", async () => {
  const path = join(folder, "plan");
  await keep(path, [{ name: "a" }]);
  expect(await readKept(path, Plan)).toEqual([{ name: "a" }]);
  expect(readdirSync(folder)).toEqual(["plan"]);
});

it.each(["", '[{"na', "{}", '[{"name":1}]', "null"])("Damaged, it counts as not there: %j", async (text) => {
  const path = join(folder, "plan");
  writeFileSync(path, text);
  expect(await readKept(path, Plan)).toBeUndefined();
});

it("Nothing kept is nothing; what cannot be read is told", async () => {
  expect(await readKept(join(folder, "other"), Plan)).toBeUndefined();
  await expect(readKept(folder, Plan)).rejects.toThrow("EISDIR");
});
