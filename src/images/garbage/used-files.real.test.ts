/** Which files disks are made on, by disks that qemu-img makes. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { usedFiles } from "./used-files.ts";

it("are read from linked overlays, of whatever depth, also where a name is half made", async () => {
  const path = mkdtempSync(join(tmpdir(), "vireo-used-"));
  try {
    const [images, machine] = [join(path, "images"), join(path, "machines/default/a-01234567")];
    for (const folder of [images, join(machine, "snapshots")]) mkdirSync(folder, { recursive: true });
    const create = (file: string, ...more: string[]) =>
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", ...more, file], { encoding: "utf8" });
    const on = (file: string) => ["-b", file, "-F", "qcow2"];
    for (const name of ["root", "data", "half", "free"])
      create(join(images, `${name}.qcow2`), "-o", "size=1M");
    create(join(machine, "root.qcow2"), ...on(join(images, "root.qcow2")));
    create(join(machine, "root-0123.qcow2"), ...on(join(machine, "root.qcow2")));
    create(join(machine, "snapshots/x.data.qcow2"), ...on(join(images, "data.qcow2")));
    create(join(machine, "y.data.qcow2.new"), ...on(join(images, "half.qcow2")));
    create(join(machine, "vars.qcow2"), "-o", "size=1M");
    const pool = {
      metadata: { name: "default" },
      spec: { directory: { path, shared: true } },
    } as StoragePool; // what is looked at of one
    expect([...(await usedFiles([pool], [], []))].sort()).toEqual(["data.qcow2", "half.qcow2", "root.qcow2"]);
  } finally {
    rmSync(path, { recursive: true });
  }
});
