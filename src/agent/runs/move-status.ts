/** What an Instance says of its move (status.migration), and how it is sent, from what is known. Pure. */
import type { Instance } from "../../compute/kinds.ts";
import { migrationsDnsName } from "../../resource/host-name.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { DiskProgress, MigrationProgress, SendOptions } from "../hypervisor.ts";
import type { InstanceStatus } from "./instance-status.ts";

export type Migration = NonNullable<InstanceStatus["migration"]>;
export type Target = NonNullable<Instance["spec"]["migrateTo"]>;

/** How it is sent. */
export function optionsOf({ host, disksAddress, transfer = {} }: Target): SendOptions {
  const { bandwidth, downtimeMs, postCopy } = transfer;
  return {
    tlsHostname: migrationsDnsName(host),
    ...(disksAddress ? {} : { switchesOver: true }),
    ...(bandwidth ? { bytesPerSecond: parseBytes(bandwidth) } : {}),
    ...(downtimeMs ? { downtimeMs } : {}),
    ...(postCopy ? { postCopy } : {}),
  };
}

/** Why its disks do not go, for users. */
export const lostCopies = ({ error }: DiskProgress) =>
  `its disks could not be copied: ${error ?? "the copying ended by itself"}`;

/** How far its disks are, where they go along. */
export const disksOf = (copies: DiskProgress | undefined): Pick<Migration, "disks"> =>
  copies
    ? { disks: { transferredBytes: copies.transferredBytes, remainingBytes: copies.remainingBytes } }
    : {};

/** Once the disks are the same at both ends. */
export function whole(was: Migration | undefined): Partial<Migration> {
  const { secondsLeft: _, ...migration }: Partial<Migration> = was ?? {};
  const { transferredBytes = 0, remainingBytes = 0 } = migration.disks ?? {};
  const disks = { transferredBytes: transferredBytes + remainingBytes, remainingBytes: 0 };
  return { ...migration, ...(migration.disks ? { disks } : {}) };
}

/** How far its memory is. */
export function figures(progress: MigrationProgress): Omit<Migration, "to" | "phase"> {
  return {
    transferredBytes: Math.round(progress.transferredBytes),
    remainingBytes: Math.round(progress.remainingBytes),
    totalMs: Math.round(progress.totalMs),
    downtimeMs: Math.round(progress.downtimeMs),
  };
}
