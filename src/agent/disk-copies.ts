/** Which disks of a machine go along in a migration without shared storage, by what names. Pure. */
import type { Volumes } from "../compute/migrations/kinds.ts";
import type { Disk, Mirror } from "../qemu/mirror.ts";
import { layerName } from "./data-disks.ts";
import type { DiskConfig, MachineConfig } from "./hypervisor.ts";

interface Copied {
  /** As in the nodes' names of the command line, which are the same at both ends: "0", "-vars", "-data". */
  key: string;
  disk: DiskConfig;
  /** Whether the guest has a node that can be written through. */
  node: boolean;
}

/** @param detached those that the guest does not have */
function disksOf({ disks, firmware }: MachineConfig, detached: readonly DiskConfig[]): Copied[] {
  const keyOf = ({ name }: DiskConfig, i: number) => (name === undefined ? `${i}` : `-${name}`);
  return [
    ...disks.map((disk, i) => ({ key: keyOf(disk, i), disk, node: !disk.readOnly })),
    ...(firmware ? [{ key: "-vars", disk: firmware.variables, node: true }] : []),
    ...detached.map((disk, i) => ({ key: keyOf(disk, i), disk, node: false })),
  ];
}

const nameOf = ({ key }: Copied) => `disk${key}`;
const fileOf = ({ disk: { path, format } }: Copied) => ({ file: { path, format } });

/** What the target takes. */
export const exportsOf = (config: MachineConfig, detached: readonly DiskConfig[]): Disk[] =>
  disksOf(config, detached).map((copied) => ({
    name: nameOf(copied),
    ...(copied.node ? { node: `format${copied.key}` } : fileOf(copied)),
  }));

/** What the source sends. @param linked disks that have the same image below them there */
export const mirrorsOf = (
  config: MachineConfig,
  detached: readonly DiskConfig[],
  linked: readonly string[],
): Mirror[] =>
  disksOf(config, detached).map((copied) => {
    const name = nameOf(copied);
    const disk = { name, ...(copied.node ? { node: `drive${copied.key}` } : fileOf(copied)) };
    const sync = linked.includes(name) ? "top" : "full";
    return { disk, sync, ...(copied.node ? { remoteNode: `format${copied.key}` } : {}) };
  });

/** The names, as above, of disks that have an image below them which both hosts share. */
export const linkedOf = ({ disks }: Volumes): string[] =>
  disks.flatMap(({ name, below }) => {
    if (!below) return [];
    if (name === "root") return ["disk0"];
    const data = name.slice(0, -layerName({ name: "" }).length);
    return name.endsWith(layerName({ name: "" })) ? [`disk-${data}`] : [];
  });
