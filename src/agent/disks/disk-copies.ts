/** Which disks of a machine go along in a migration without shared storage, by what names. Pure. */
import type { Volumes } from "../../compute/migrations/kinds.ts";
import type { Disk, Mirror } from "../../qemu/mirror.ts";
import type { DiskConfig, MachineConfig } from "../hypervisor.ts";
import { layerName } from "./data-disks.ts";

interface Copied {
  /** As in the nodes' names of the command line, which are the same at both ends: "0", "-vars", "-data". */
  key: string;
  disk: DiskConfig;
  /** Whether the guest has a node that can be written through. */
  node: boolean;
}

/** What a frozen layer goes along as. A disk's name has no dot. @param i which of Volumes.frozen */
export const frozenName = (i: number) => `frozen.${i}`;

/** @param besides those that the guest does not have */
function disksOf({ disks, firmware }: MachineConfig, besides: readonly DiskConfig[]): Copied[] {
  const keyOf = ({ name }: DiskConfig, i: number) => (name === undefined ? `${i}` : `-${name}`);
  return [
    ...disks.map((disk, i) => ({ key: keyOf(disk, i), disk, node: !disk.readOnly })),
    ...(firmware ? [{ key: "-vars", disk: firmware.variables, node: true }] : []),
    ...besides.map((disk, i) => ({ key: keyOf(disk, i), disk, node: false })),
  ];
}

const nameOf = ({ key }: Copied) => `disk${key}`;
const fileOf = ({ disk: { path, format, apart } }: Copied) => ({
  file: { path, format, ...(apart ? { apart } : {}) },
});

/** What the target takes. */
export const exportsOf = (config: MachineConfig, besides: readonly DiskConfig[]): Disk[] =>
  disksOf(config, besides).map((copied) => ({
    name: nameOf(copied),
    ...(copied.node ? { node: `format${copied.key}` } : fileOf(copied)),
  }));

/** What the source sends. @param linked those that have the same below them there */
export const mirrorsOf = (
  config: MachineConfig,
  besides: readonly DiskConfig[],
  linked: readonly string[],
): Mirror[] =>
  disksOf(config, besides).map((copied) => {
    const name = nameOf(copied);
    const disk = { name, ...(copied.node ? { node: `drive${copied.key}` } : fileOf(copied)) };
    const sync = linked.includes(name) ? "top" : "full";
    return { disk, sync, ...(copied.node ? { remoteNode: `format${copied.key}` } : {}) };
  });

/** The names, as above, of those that have the same below them at both ends: an image that both hosts share, or a layer that goes along, too. */
export const linkedOf = ({ disks, frozen = [] }: Volumes): string[] => [
  ...disks.flatMap(({ name, below, layer }) => (below || layer?.over ? [copyName(name)] : [])),
  ...frozen.flatMap(({ below, over }, i) => (below || over ? [`disk-${frozenName(i)}`] : [])),
];

/** @param name of layers: "root", "vars", "logs.data" */
function copyName(name: string): string {
  if (name === "root") return "disk0";
  const end = layerName({ name: "" });
  return `disk-${name.endsWith(end) ? name.slice(0, -end.length) : name}`;
}
