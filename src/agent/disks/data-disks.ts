/** The data disks of a machine (compute/disks/kinds.ts), in its folder beside the system disk: NAME.data.qcow2 is the first layer of one. */
import { join } from "node:path";
import type { DataDisk, DiskLimits } from "../../compute/disks/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import type { Limits } from "../../qemu/throttle.ts";
import { formatBytes, parseBytes } from "../../resource/quantity.ts";
import { exists } from "../../system/exists.ts";
import type { DiskConfig } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { changeDisk } from "./enclosed-img.ts";
import type { Layers } from "./layers.ts";
import { makeDisk } from "./make-disk.ts";
import { readHeader } from "./qcow2-head.ts";

export interface DataDiskSource {
  /** The machine's. */
  folder: string;
  layers: Layers;
  user: { uid: number; gid: number };
  imageNamed: (name: string) => Promise<Image | undefined>;
  /** Where an image's file is. */
  imagePath: (image: Image, file: string) => Promise<string>;
}

/** What the layers of a data disk are called. A name has no dot, so these are never those of another disk. */
export const layerName = ({ name }: Pick<DataDisk, "name">) => `${name}.data`;

/** Those that the run really has, once it says so: one may be about to come or go. */
export const attached = ({ spec, status }: Instance) => status?.has?.disks ?? spec.disks ?? [];

/** Makes those that are missing, unless the instance only takes over what another has open. @throws PrepareError */
export async function ensureDataDisks(source: DataDiskSource, { spec }: Instance): Promise<DiskConfig[]> {
  const { disks = [] } = spec;
  const paths = await source.layers.active(disks.map(layerName));
  const found: DiskConfig[] = [];
  for (const [i, disk] of disks.entries()) {
    const path = paths[i] ?? "";
    if (!(await exists(path))) {
      const first = join(source.folder, `${layerName(disk)}.qcow2`);
      if (spec.incoming || path !== first)
        throw new PrepareError(
          `${path}, the disk ${disk.name} of ${spec.vm}, is not on this host; is its storage pool really shared?`,
        );
      if (disk.exists)
        throw new PrepareError(
          `${path}, the disk ${disk.name} of ${spec.vm}, is not there, and a disk that was used is never made anew: bring it back, or name another one`,
        );
      await makeDataDisk(source, disk, first);
    }
    const { name, port, size, limits, readOnly = false } = disk;
    found.push({
      name,
      path,
      format: "qcow2",
      readOnly,
      ...(port === undefined ? {} : { port }),
      ...(size === undefined ? {} : { sizeBytes: parseBytes(size) }),
      ...(limits ? { limits: limitsOf(limits) } : {}),
    });
  }
  return found;
}

/** In bytes, as QEMU takes them. */
export function limitsOf({ iops, readIops, writeIops, bytesPerSecond, burst }: DiskLimits): Limits {
  const most = burst && {
    seconds: burst.seconds,
    ...(burst.iops ? { iops: burst.iops } : {}),
    ...(burst.bytesPerSecond ? { bytes: parseBytes(burst.bytesPerSecond) } : {}),
  };
  return {
    ...(iops ? { iops } : {}),
    ...(readIops ? { readIops } : {}),
    ...(writeIops ? { writeIops } : {}),
    ...(bytesPerSecond ? { bytes: parseBytes(bytesPerSecond) } : {}),
    ...(most ? { burst: most } : {}),
  };
}

/** Makes the file of a disk that no machine has open as large as it is to be. */
export async function grow({ path, format, readOnly, sizeBytes }: DiskConfig): Promise<void> {
  if (sizeBytes === undefined || readOnly || format !== "qcow2") return;
  if ((await readHeader(path)).sizeBytes < sizeBytes)
    await changeDisk(path, ["resize", "-q", "-f", "qcow2", path, String(sizeBytes)]);
}

async function makeDataDisk(source: DataDiskSource, disk: DataDisk, path: string): Promise<void> {
  const { imageNamed, imagePath, user } = source;
  const size = disk.size === undefined ? undefined : parseBytes(disk.size);
  if (disk.image === undefined) return makeDisk(path, undefined, size, user);
  const image = await imageNamed(disk.image);
  const { file, format, virtualBytes, phase = "Pending" } = image?.status ?? {};
  if (!image || !file || !format)
    throw new PrepareError(`spec.disks: the image ${disk.image} of ${disk.name} is not ready: ${phase}`);
  if (size !== undefined && virtualBytes !== undefined && size < virtualBytes)
    throw new PrepareError(
      `spec.disks: ${disk.name} is to have ${disk.size}, but its image ${disk.image} has ${formatBytes(virtualBytes)}; make it at least that large`,
    );
  return makeDisk(path, { path: await imagePath(image, file), format }, size, user);
}

/** Those that were taken out of the machine's list and are kept with its disks. @param files names in its folder */
export function detachedDisks(files: readonly string[], instance: Instance): string[] {
  const used = new Set(attached(instance).map(({ name }) => name));
  const names = files.flatMap(
    (file) => /^([a-z][-a-z0-9]*)\.data(-[0-9a-f]{12})?\.qcow2$/.exec(file)?.[1] ?? [],
  );
  return [...new Set(names)].filter((name) => !used.has(name)).sort();
}
