/** What the command line makes of a build before the server sees it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readRecipe, recipeAsked } from "./image-build.ts";

let folder: string;
let before: string;
beforeEach(() => {
  before = process.cwd();
  folder = mkdtempSync(join(tmpdir(), "vireo-image-build-"));
  process.chdir(folder);
});
afterEach(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
});

const NONE = { package: [], service: [], directory: [], guestAgent: true };

it("a word is the name of an image, also where a folder has that name; a file is read", () => {
  mkdirSync("web");
  writeFileSync("shop", "packages: [nginx-light]\n");
  expect(readRecipe("web")).toEqual({ name: "web" });
  expect(readRecipe("shop")).toEqual({ name: "shop", recipe: { packages: ["nginx-light"] } });
});

it("a recipe that cannot be read says why", () => {
  mkdirSync("web.yaml");
  expect(() => readRecipe("web.yaml")).toThrow("web.yaml: is a folder; a file is needed");
  expect(() => readRecipe("none.yaml")).toThrow("none.yaml: no such file");
});

it("in full mode, whoever says so, the name of a unit is enough of a service", () => {
  const flags = { ...NONE, service: ["nginx"] };
  const services = [{ name: "nginx" }];
  expect(recipeAsked({ mode: "full" }, flags)).toMatchObject({ services });
  expect(recipeAsked({}, { ...flags, mode: "full" })).toMatchObject({ services });
  expect(() => recipeAsked({}, flags)).toThrow(/"nginx" is not NAME=COMMAND; with mode: full/);
});
