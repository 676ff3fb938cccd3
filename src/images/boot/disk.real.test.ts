/** Root file systems of files of all sizes, made by the real mke2fs. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { run } from "../../system/run.ts";
import { makeRootDisk } from "./disk.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-disk-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A tree of so many files of so many bytes. */
function tree(files: number, bytes: number): string {
  const root = join(folder, "root");
  for (let n = 0; n < files; n++) {
    const at = join(root, `node_modules/m${n % 200}`);
    if (n < 200) mkdirSync(at, { recursive: true });
    writeFileSync(join(at, `file-with-a-longer-name-${n}.js`), "x".repeat(bytes));
  }
  return root;
}
const work = (name: string) => {
  const at = join(folder, name);
  mkdirSync(at);
  return { folder: at, cache: at, log: () => {} };
};
const about = { epoch: 1_000_000_000, uuid: "11111111-1111-4111-8111-111111111111" };

it("has room for as many small files as there are", async () => {
  const root = tree(20_000, 300);
  const raw = await makeRootDisk(work("a"), root, { ...about, diskMiB: undefined });
  await run("e2fsck", ["-fn", raw]);
});

it("that the recipe makes too small is told with its field", async () => {
  const root = tree(10_000, 300);
  await expect(makeRootDisk(work("a"), root, { ...about, diskMiB: 16 })).rejects.toThrow(
    /^recipe\.diskMiB: 16 MiB are too few; the files alone need 1\d MiB$/,
  );
  await makeRootDisk(work("b"), root, { ...about, diskMiB: 48 });
  // Its tables need some, too.
  mkdirSync(join(folder, "large"));
  writeFileSync(join(folder, "large/file"), Buffer.alloc(64 * 2 ** 20, "x"));
  await expect(makeRootDisk(work("c"), join(folder, "large"), { ...about, diskMiB: 73 })).rejects.toThrow(
    /^recipe\.diskMiB: 73 MiB are too few; the files alone need 65 MiB, and some for its tables$/,
  );
});
