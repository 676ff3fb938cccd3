/** Which files of the host the QEMU of a machine reaches (system/enclosure.ts): what its description names, the layers below its disks, the images, nothing else. */
import { dirname, resolve } from "node:path";
import type { Reach } from "../../system/enclosure.ts";
import { readHeader } from "../disks/qcow2-head.ts";
import type { MachineConfig } from "../hypervisor.ts";

/** @param runFolder of the machine: sockets, and what is lent to it for a while */
export async function reachOf(config: MachineConfig, runFolder: string): Promise<Reach> {
  const { disks, cds = [], firmware, boot, nics, ports = 0, accelerator, folders = [], images = [] } = config;
  const all = firmware ? [...disks, firmware.variables] : disks;
  const own = [...folders, runFolder];
  const covered = [...own, ...images];
  const isOutside = (path: string) => !covered.some((folder) => path.startsWith(`${folder}/`));
  const below = await Promise.all(
    all.filter(({ format }) => format === "qcow2").map(({ path }) => layersBelow(path)),
  );
  const named = [
    ...all.filter(({ readOnly }) => readOnly).map(({ path }) => path),
    ...below.flat(),
    ...cds.flatMap(({ path }) => path ?? []),
    ...(firmware ? [firmware.code] : []),
    ...(boot ? [boot.kernel, boot.initrd] : []),
  ];
  const writable = all.filter(({ readOnly }) => !readOnly).map(({ path }) => path);
  return {
    readable: [...images, ...named.filter(isOutside)],
    writable: [...own, ...writable.filter(isOutside)],
    devices: [
      ...(accelerator === "kvm" ? ["/dev/kvm"] : []),
      ...(ports > 0 || nics.some(({ backend }) => "tap" in backend) ? ["/dev/net/tun"] : []),
    ],
  };
}

/** The files that a qcow2 file is an overlay of, from top to bottom. One that cannot be read is QEMU's to tell of. */
async function layersBelow(path: string): Promise<string[]> {
  const below: string[] = [];
  for (let at = path; ; ) {
    const { backing } = await readHeader(at).catch(() => ({ backing: undefined }));
    if (backing === undefined || backing.startsWith("json:")) return below;
    at = resolve(dirname(at), backing.replace(/^file:/, ""));
    // A ring cannot be opened either.
    if (below.includes(at)) return below;
    below.push(at);
  }
}
