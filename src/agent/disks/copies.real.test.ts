/** A whole copy has its name only once it would outlive a power cut: what it was copied from may go then. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { run } from "../../system/run.ts";
import { Copies, copyDisk, StillPreparing } from "./copies.ts";

const steps: string[] = [];
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  return {
    ...real,
    link: (from: string, to: string) => {
      steps.push(`link ${to.split("/").at(-1)}`);
      return real.link(from, to);
    },
    open: async (path: string, flags: string) => {
      const file = await real.open(path, flags);
      const sync = file.sync.bind(file);
      file.sync = () => {
        // Without what makes the name of one that is being made its own.
        steps.push(
          `sync ${path
            .split("/")
            .at(-1)
            ?.replace(/\.[0-9a-f-]{36}/, "")}`,
        );
        return sync();
      };
      return file;
    },
  };
});

it("is written out before it has its name, and the name after that; qemu-img does not leave it to the kernel", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-copies-"));
  try {
    const from = join(folder, "from.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", from, "1M"]);
    await run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 64k", from]);
    const copies = new Copies();
    const to = join(folder, "root.qcow2");
    for (let made = false; !made; )
      made = await copyDisk(copies, { path: from, format: "qcow2" }, to, 2 ** 21, { uid: 0, gid: 0 }).then(
        () => true,
        async (error: unknown) => {
          if (!(error instanceof StillPreparing)) throw error;
          await new Promise((resolve) => setTimeout(resolve, 5));
          return false;
        },
      );
    // First that what it stands on is written down (bases.ts).
    const folderSync = `sync ${folder.split("/").at(-1)}`;
    expect(steps).toEqual([
      ...["sync root.base.new", folderSync],
      ...["sync root.qcow2.new", "link root.qcow2", folderSync],
    ]);
    expect(readFileSync(to).indexOf(Buffer.alloc(512, 7))).toBeGreaterThan(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
