/** Full images without building any: what their recipes may say, and which units there are. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_VERSION } from "../../resource/kind.ts";
import { checkImage } from "../checks.ts";
import type { Recipe } from "../recipe.ts";
import { requireUnit } from "./full-root.ts";

const base: Recipe = { distribution: "debian", release: "bookworm", packages: [] };
const wrong = (recipe: Partial<Recipe>) =>
  checkImage(
    {
      apiVersion: API_VERSION,
      kind: "Image",
      metadata: { name: "x" },
      spec: { storagePool: "default", recipe: { ...base, ...recipe } },
    },
    undefined,
    { list: () => [] },
  ).map(({ field, message }) => `${field}: ${message}`);

describe("a recipe", () => {
  it("of a full image may name units; a slim one has none", () => {
    const services = [{ name: "nginx" }];
    expect(wrong({ mode: "full", services })).toEqual([]);
    expect(wrong({ services })).toEqual([
      expect.stringMatching(
        /^spec\.recipe\.services\[0\]\.command: Required value: slim images have no systemd/,
      ),
    ]);
  });
  it("of a full image leaves out what would break its package manager, or would not fit", () => {
    expect(wrong({ mode: "full", root: "ram", minimize: true })).toEqual([
      expect.stringMatching(/^spec\.recipe\.root: /),
      expect.stringMatching(/^spec\.recipe\.minimize: /),
    ]);
  });
  it("names no kernel among its packages", () => {
    expect(wrong({ packages: ["linux-image-amd64"] })).toEqual([
      expect.stringMatching(/^spec\.recipe\.packages\[0\]: .*set spec\.recipe\.kernel/),
    ]);
  });
});

describe("a unit", () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "vireo-units-"));
    mkdirSync(join(root, "etc/systemd/system"), { recursive: true });
    mkdirSync(join(root, "usr/lib/systemd/system"), { recursive: true });
    writeFileSync(join(root, "usr/lib/systemd/system/nginx.service"), "");
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  it("that no package brings is told, with what may have been meant", async () => {
    await requireUnit(root, "nginx.service", "recipe.services[0]");
    await expect(requireUnit(root, "ngnix.service", "recipe.services[0]")).rejects.toThrow(
      /^recipe\.services\[0\]: no package brings the unit ngnix\.service; did you mean nginx\?$/,
    );
    await expect(requireUnit(root, "other.service", "recipe.services[1]")).rejects.toThrow(
      /^recipe\.services\[1\]: .*name its package in recipe\.packages/,
    );
  });
});
