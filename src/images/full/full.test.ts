/** Full images without building any: which units there are. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireUnit } from "./full-root.ts";

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
