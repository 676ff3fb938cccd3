/**
 * Whether the target of a migration has what its source has, each at the same place. QEMU does not tell: a disk or network card in the place of another takes
 * that one's state without complaint, and the guest goes on with them swapped. Pure.
 */
import { isDeepStrictEqual } from "node:util";
import type { Has } from "../../compute/changes/kinds.ts";
import type { PlacedDisk } from "../../compute/disks/kinds.ts";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { macKey } from "../../qemu/devices.ts";
import type { Fixed } from "../../qemu/fixed.ts";
import type { Present } from "../../qemu/hotplug.ts";
import { parseBytes } from "../../resource/quantity.ts";

/** @param there what the target was made with @param here what the QEMU of the source has */
export function isSameHardware(
  there: Has | undefined,
  { spec, status }: Pick<Instance, "spec" | "status">,
  here: Present & Fixed,
): boolean {
  // An IDE disk cannot be read-only: such a one is in no QEMU.
  const isAttached = ({ readOnly }: PlacedDisk) => !readOnly || hardwareOf(spec.hardware).disks !== "ide";
  const disks = there?.disks.filter(isAttached) ?? [];
  const nics = (there?.interfaces ?? []).map(({ mac, ...nic }) => ({ ...nic, name: macKey(mac) }));
  return (
    there?.ports === status?.has?.ports &&
    (!there?.cpus || there.cpus.now === here.cpus) &&
    isDeepStrictEqual(there?.cdDrives, status?.has?.cdDrives) &&
    isDeepStrictEqual(there?.memory?.modules.map((size) => parseBytes(size)) ?? [], here.modules) &&
    isDeepStrictEqual(disks.map(({ name }) => name).sort(), here.disks.toSorted()) &&
    isDeepStrictEqual(atPorts(nics), here.nics.toSorted()) &&
    isDeepStrictEqual({ disks: fixed(disks), nics: fixed(nics) }, here.fixed)
  );
}

interface Device {
  name: string;
  port?: number;
}
const fixed = (all: readonly Device[]) => all.flatMap(({ name, port }) => (port === undefined ? [name] : []));
const atPorts = (all: readonly Device[]) =>
  all.flatMap(({ name, port }) => (port === undefined ? [] : [name])).sort();
