/** CD drives of a machine and what is to be in them (compute/boot/kinds.ts), and what its firmware is to start first. */
import { bootIndex, startsFromDisk } from "../../compute/boot/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { macKey } from "../../qemu/devices.ts";
import { exists } from "../../system/exists.ts";
import type { CdConfig, MachineConfig } from "../hypervisor.ts";
import { imageFile } from "./volume-places.ts";

/** Where images are. */
export interface Library {
  imageNamed: (name: string) => Promise<Image | undefined>;
  poolOf: (image: Image) => Promise<StoragePool>;
}

export async function cdsOf({ spec }: Instance, library: Library): Promise<CdConfig[]> {
  const { cdDrives = [] } = spec;
  return Promise.all(
    cdDrives.map(async ({ name, image, force }): Promise<CdConfig> => {
      const cd = { name, ...(force ? { force } : {}) };
      if (image === undefined) return cd;
      const found = await fileOf(image, library);
      return "lacking" in found ? { ...cd, lacking: found.lacking } : { ...cd, path: found.path };
    }),
  );
}

async function fileOf(
  name: string,
  { imageNamed, poolOf }: Library,
): Promise<{ path: string } | { lacking: string }> {
  const image = await imageNamed(name);
  if (!image) return { lacking: `there is no Image ${name}` };
  const { file, format, phase = "Pending" } = image.status ?? {};
  if (!file || !format) return { lacking: `image ${name} is not ready: ${phase}` };
  if (format !== "raw")
    return { lacking: `image ${name} is a disk (${format}); what is in a CD drive is a plain file, an ISO` };
  const pool = await poolOf(image);
  const path = imageFile(pool, file);
  if (await exists(path)) return { path };
  return {
    lacking: `${path}, the file of image ${name}, is not on this host; copy it there, or keep it in a storage pool that hosts share`,
  };
}

/** With the order that its spec asks for. */
export function inBootOrder<T extends Pick<MachineConfig, "disks" | "nics" | "cds" | "boot">>(
  config: T,
  { bootOrder, interfaces }: Instance["spec"],
): T {
  if (!bootOrder || (config.boot && startsFromDisk(bootOrder))) return config;
  const { boot: _, ...rest } = config;
  const at = <D>(device: D, index: number | undefined): D =>
    index === undefined ? device : { ...device, bootindex: index };
  const networkOf = (mac: string) => interfaces.find((nic) => macKey(nic.mac) === macKey(mac))?.network;
  return {
    ...rest,
    // The first is the system disk; its seed has no name either, and nothing to start.
    disks: config.disks.map((disk, i) =>
      i > 0 && disk.name === undefined ? disk : at(disk, bootIndex(bootOrder, "disk", disk.name)),
    ),
    nics: config.nics.map((nic) => at(nic, bootIndex(bootOrder, "network", networkOf(nic.mac) ?? ""))),
    ...(config.cds ? { cds: config.cds.map((cd) => at(cd, bootIndex(bootOrder, "cd", cd.name))) } : {}),
  } as T;
}
