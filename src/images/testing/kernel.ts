/** Debian's kernel, taken apart, for packages of other distributions that tests make. */
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../../system/run.ts";
import type { PackageSource } from "../packages/packages.ts";

const UNPACK_MS = 300_000;

/** Drivers of Vireo's machines, and what they need. */
const MODULES = [
  ...["drivers/virtio", "drivers/char/hw_random", "fs/fat", "fs/nls", "net/packet", "net/core/failover.ko"],
  ...["drivers/block/virtio_blk.ko", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko"],
  ...["drivers/char/virtio_console.ko", "drivers/input/evdev.ko", "drivers/acpi/button.ko"],
];

export interface TestKernel {
  version: string;
  vmlinuz: string;
  /** Those that Vireo's machines need, packed as the distribution has them, with the lists that depmod reads. */
  copyModules: (to: string, packer: "xz" | "zstd") => Promise<void>;
}

export async function testKernel(folder: string, debian: PackageSource): Promise<TestKernel> {
  const [deb] = await debian.fetch([], ["linux-image-cloud-amd64"]);
  const tree = join(folder, "debian-kernel");
  mkdirSync(tree);
  await run("dpkg-deb", ["-x", deb?.file ?? "", tree], { timeoutMs: UNPACK_MS });
  const [version = ""] = readdirSync(join(tree, "lib/modules"));
  const from = join(tree, "lib/modules", version);
  const copyModules = async (to: string, packer: "xz" | "zstd") => {
    const files = MODULES.flatMap((path) =>
      path.endsWith(".ko")
        ? [path]
        : readdirSync(join(from, "kernel", path), { recursive: true })
            .map((name) => join(path, String(name)))
            .filter((name) => name.endsWith(".ko")),
    );
    for (const path of files) {
      const copy = join(to, "kernel", path);
      mkdirSync(dirname(copy), { recursive: true });
      cpSync(join(from, "kernel", path), copy);
    }
    for (const name of ["modules.order", "modules.builtin", "modules.builtin.modinfo"])
      cpSync(join(from, name), join(to, name));
    const copies = files.map((path) => join(to, "kernel", path));
    const options = packer === "xz" ? ["--check=crc32"] : ["-q", "--rm"];
    await run(packer, [...options, ...copies], { timeoutMs: UNPACK_MS });
  };
  return { version, vmlinuz: join(tree, "boot", `vmlinuz-${version}`), copyModules };
}
