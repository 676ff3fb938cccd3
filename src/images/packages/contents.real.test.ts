/** Which package has a file: an index of lists that apt reads, and of the real ones of Debian. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Contents, indexContents } from "./contents.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vireo-contents-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("an index of Contents lists", () => {
  it("finds each file of lists of many blocks, and none that is not there", async () => {
    const lines = Array.from(
      { length: 9000 },
      (_, i) => `usr/share/p${`${i}`.padStart(5, "0")}/a file   misc/p${i}`,
    );
    const all = [
      "bin/sh   shells/dash",
      "usr/lib/x86_64-linux-gnu/blas/libblas.so.3   libs/libblas3,math/libother",
      ...lines,
    ];
    const [list, second, index] = ["list", "second", "index"].map((name) => join(folder, name));
    await writeFile(list ?? "", `${all.join("\n")}\n`);
    // The last line without its end.
    await writeFile(second ?? "", "usr/share/p00007/a file   misc/again\nusr/share/z   misc/z");
    await indexContents([list ?? "", second ?? ""], index ?? "");
    const contents = await Contents.open(index ?? "");
    try {
      for (const i of [0, 1, 4321, 8999])
        expect(await contents.packagesOf(`/usr/share/p${`${i}`.padStart(5, "0")}/a file`)).toMatchObject({
          packages: [`p${i}`],
        });
      expect((await contents.packagesOf("usr/share/p00007/a file"))?.packages).toEqual(["p7", "again"]);
      expect((await contents.packagesOf("usr/share/z"))?.packages).toEqual(["z"]);
      // /bin is /usr/bin.
      expect(await contents.packagesOf("/usr/bin/sh")).toEqual({ path: "bin/sh", packages: ["dash"] });
      for (const path of ["a", "usr/share/p00001", "usr/share/p00001/a", "zzz", ""])
        expect(await contents.packagesOf(path), path).toBeUndefined();
      expect(await contents.below("usr/share/p000", 1000)).toHaveLength(100);
      expect(await contents.below("usr/share/p", 50)).toHaveLength(50);
      expect(contents.pathsOfLibrary("libblas.so.3")).toEqual(["usr/lib/x86_64-linux-gnu/blas/libblas.so.3"]);
      expect(contents.pathsOfLibrary("constructor")).toEqual([]);
    } finally {
      await contents.close();
    }
  });

  it("tells of a damaged index, and leaves none behind when a list cannot be read", async () => {
    const index = join(folder, "damaged");
    await writeFile(index, "x".repeat(100));
    await expect(Contents.open(index)).rejects.toThrow("is damaged; remove it");
    await expect(indexContents([join(folder, "nothing")], join(folder, "none"))).rejects.toThrow();
    await expect(Contents.open(join(folder, "none"))).rejects.toThrow("ENOENT");
  });
});
