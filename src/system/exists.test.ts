import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { exists } from "./exists.ts";

it("tells what is there, and nothing of what cannot be seen", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-exists-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "file"), "");
  symlinkSync("nowhere", join(folder, "dangling"));
  symlinkSync("loop", join(folder, "loop"));
  const at = (name: string) => exists(join(folder, name));
  expect(await Promise.all(["", "file", "none", "file/below", "dangling"].map(at))).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
  await expect(at("loop")).rejects.toThrow("ELOOP");
});
