/** Disk and network throughput that machines may use at most by their own limits, and what a host has for all of them (Host.spec.budget). Pure. */
import { type Static, Type } from "typebox";
import { Quantity } from "../../resource/kind.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { DiskLimits } from "../disks/kinds.ts";
import type { NicLimits } from "../interfaces.ts";

export const IoBudget = Type.Object(
  {
    iops: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: "Requests a second of its disks." }),
    ),
    diskBytesPerSecond: Type.Optional(
      Quantity({ description: "Of its disks.", minimum: 65536, maximum: 2 ** 50 }),
    ),
    networkBytesPerSecond: Type.Optional(
      Quantity({ description: "Of its links, each way.", minimum: 65536, maximum: 2 ** 50 }),
    ),
  },
  {
    description:
      "What its machines may use at most, all together, by their own limits (diskLimits, limits of disks, networkLimits); machines that would need more than is left do not come. What is absent is not counted.",
  },
);
export type IoBudget = Static<typeof IoBudget>;

export interface Io {
  iops: number;
  diskBytes: number;
  /** Of the direction in which it is more: links are as fast each way at once. */
  networkBytes: number;
}

interface Limited {
  diskLimits?: DiskLimits;
  disks?: readonly { limits?: DiskLimits }[];
  /** Of a run. */
  interfaces?: readonly { limits?: NicLimits }[];
  /** Of a machine. */
  networkLimits?: readonly NicLimits[];
}

const bytes = (quantity: string | undefined) => (quantity === undefined ? 0 : parseBytes(quantity));

/** What a machine, or a run of it, may use at most; what has no limit counts nothing. Undefined: it has no limits at all. */
export function ioOf({ diskLimits, disks = [], interfaces, networkLimits = [] }: Limited): Io | undefined {
  const io: Io = { iops: 0, diskBytes: 0, networkBytes: 0 };
  for (const limits of [diskLimits, ...disks.map((disk) => disk.limits)]) {
    io.iops += limits?.iops ?? (limits?.readIops ?? 0) + (limits?.writeIops ?? 0);
    io.diskBytes += bytes(limits?.bytesPerSecond);
  }
  const nics = interfaces?.map(({ limits }) => limits) ?? networkLimits;
  const sum = (of: (nic: NicLimits) => string | undefined) =>
    nics.reduce((total, nic) => total + bytes(nic && of(nic)), 0);
  io.networkBytes = Math.max(
    sum((nic) => nic.receiveBytesPerSecond),
    sum((nic) => nic.sendBytesPerSecond),
  );
  return io.iops + io.diskBytes + io.networkBytes > 0 ? io : undefined;
}

/** Undefined: of none of it anything is said. */
export function budgetOf(budget: IoBudget | undefined): Partial<Io> | undefined {
  if (!budget) return undefined;
  const { iops, diskBytesPerSecond: disk, networkBytesPerSecond: network } = budget;
  return {
    ...(iops === undefined ? {} : { iops }),
    ...(disk === undefined ? {} : { diskBytes: parseBytes(disk) }),
    ...(network === undefined ? {} : { networkBytes: parseBytes(network) }),
  };
}
