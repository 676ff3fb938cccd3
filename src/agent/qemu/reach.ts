/** Which files of the host the QEMU of a machine reaches (system/enclosure.ts): what its description names, the layers below its disks, the images, nothing else. */
import type { Reach } from "../../system/enclosure.ts";
import { chainOf } from "../disks/bases.ts";
import type { MachineConfig } from "../hypervisor.ts";
import { picturesIn } from "./qemu-record.ts";

/** @param runFolder of the machine: sockets, and what is lent to it for a while @throws ForeignDiskError */
export async function reachOf(config: MachineConfig, runFolder: string): Promise<Reach> {
  const { disks, cds = [], firmware, boot, nics, ports = 0, accelerator, folders = [], images = [] } = config;
  const all = firmware ? [...disks, firmware.variables] : disks;
  const own = [...folders, runFolder];
  const covered = [...own, ...images];
  const isOutside = (path: string) => !covered.some((folder) => path.startsWith(`${folder}/`));
  const chains = await Promise.all(all.map(chainOf));
  const named = [
    ...all.filter(({ readOnly }) => readOnly).map(({ path }) => path),
    ...chains.flatMap(([, ...below]) => below),
    ...cds.flatMap(({ path }) => path ?? []),
    ...(firmware ? [firmware.code] : []),
    ...(boot ? [boot.kernel, boot.initrd] : []),
  ];
  const writable = all.filter(({ readOnly }) => !readOnly).map(({ path }) => path);
  return {
    scratch: picturesIn(runFolder),
    readable: [...images, ...named.filter(isOutside)],
    writable: [...own, ...writable.filter(isOutside)],
    devices: [
      ...(accelerator === "kvm" ? ["/dev/kvm"] : []),
      ...(ports > 0 || nics.some(({ backend }) => "tap" in backend) ? ["/dev/net/tun"] : []),
    ],
  };
}
