/** Initial RAM disks, unpacked again as the kernel does: archive after archive. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { run } from "../../system/run.ts";
import { type Packing, packInitrd } from "./initrd.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-initrd-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it.each(["fast", "small"] satisfies Packing[])(
  "that is %s has everything once, each package apart",
  async (packing) => {
    const work = { folder: join(folder, packing), cache: join(folder, "cache"), log: () => {} };
    const tree = join(work.folder, "tree");
    mkdirSync(join(tree, "usr/lib"), { recursive: true });
    writeFileSync(join(tree, "init"), "#!/bin/sh\n");
    for (const name of ["one", "two"]) writeFileSync(join(tree, "usr/lib", name), name.repeat(1000));
    const layers = [
      { name: "a", paths: ["/usr/lib/one", "/usr/lib/gone"] },
      { name: "b", paths: ["/usr/lib/one", "/usr/lib/two"] },
    ];
    const initrd = await packInitrd(work, tree, 1e9, { layers, packing });
    const unpacker = packing === "small" ? "xz" : "zstd";
    const magic = readFileSync(initrd).toString("hex", 0, 4);
    expect(magic).toBe(packing === "small" ? "fd377a58" : "28b52ffd");
    const list = await run("sh", [
      "-c",
      // One archive ends where the next begins: cpio is asked once for each.
      `${unpacker} -dc < "$1" | (for i in 1 2 3; do cpio --quiet -t; done)`,
      "sh",
      initrd,
    ]);
    expect(list.trim().split("\n")).toEqual(["init", "usr", "usr/lib", "usr/lib/one", "usr/lib/two"]);
  },
);
