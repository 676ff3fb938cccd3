/** What two builds differ in. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { comparePackages } from "./differences.ts";
import { compareFiles, fileList } from "./file-list.ts";

it("packages: added, removed, newer, older; a kernel takes the place of another", () => {
  const before = [
    { name: "linux-image-6.1.0-55-cloud-amd64", version: "6.1.190-1" },
    { name: "gone", version: "1" },
    { name: "same", version: "1", sha256: "a" },
    { name: "rebuilt", version: "1", sha256: "a" },
    { name: "up", version: "1.9" },
    { name: "down", version: "1:1" },
  ];
  const after = [
    { name: "linux-image-6.1.0-56-cloud-amd64", version: "6.1.192-2" },
    { name: "new", version: "2" },
    { name: "same", version: "1", sha256: "a" },
    { name: "rebuilt", version: "1", sha256: "b" },
    { name: "up", version: "1.10" },
    { name: "down", version: "9" },
  ];
  expect(comparePackages(before, after)).toEqual([
    { name: "down", before: "1:1", after: "9", what: "older" },
    { name: "gone", before: "1", what: "removed" },
    { name: "linux-image-6.1.0-56-cloud-amd64", before: "6.1.190-1", after: "6.1.192-2", what: "newer" },
    { name: "new", after: "2", what: "added" },
    { name: "rebuilt", before: "1", after: "1", what: "other file" },
    { name: "up", before: "1.9", after: "1.10", what: "newer" },
  ]);
});

it("files: by content, mode and where links lead to, whatever their names are", async () => {
  const root = mkdtempSync(join(tmpdir(), "vireo-list-"));
  try {
    mkdirSync(join(root, "etc"));
    writeFileSync(join(root, "etc/a file#ä\\"), "1");
    writeFileSync(join(root, "etc/b"), "1");
    writeFileSync(join(root, "etc/c"), "1", { mode: 0o600 });
    symlinkSync("a b", join(root, "etc/link"));
    const before = await fileList(root);
    expect(before).toMatch(
      /^#mtree v2\.0\n\.\/etc type=dir mode=0755\n\.\/etc\/a\\040file\\043\\303\\244\\134 type=file size=1 sha256digest=[0-9a-f]{64} mode=0644\n/,
    );
    expect(compareFiles(before, await fileList(root))).toEqual({ added: [], removed: [], changed: [] });
    writeFileSync(join(root, "etc/a file#ä\\"), "2");
    chmodSync(join(root, "etc/c"), 0o644);
    rmSync(join(root, "etc/b"));
    rmSync(join(root, "etc/link"));
    symlinkSync("other", join(root, "etc/link"));
    writeFileSync(join(root, "new"), "");
    expect(compareFiles(before, await fileList(root))).toEqual({
      added: ["/new"],
      removed: ["/etc/b"],
      changed: ["/etc/a file#ä\\", "/etc/c", "/etc/link"],
    });
  } finally {
    rmSync(root, { recursive: true });
  }
});
