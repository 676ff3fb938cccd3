/**
 * Measured use of processors, beside what machines are declared to need. What is declared always has to fit (rules.ts); what is measured keeps a host from becoming
 * too busy where there is another, and says how much room and how many watts there are. A machine that has not been measured is taken to use a quarter of its CPUs, which is
 * more than most do, as much more or less (unsureOf); for watts, its share of the CPUs that the host gives out. Pure.
 */
import type { Usage } from "../../compute/kinds.ts";
import { OVERCOMMIT } from "../../compute/overcommit/kinds.ts";
import type { HostView, MachineView } from "./estate.ts";
import { shareOn } from "./watts.ts";

/** What a machine uses besides processors. */
export interface Demand {
  /** Requests a second of its disks. */
  iops: number;
  /** A second, read and written. */
  diskBytes: number;
  /** A second, of the direction in which it is more. */
  networkBytes: number;
  /** Of its host's memory. */
  memoryBytes: number;
}

export interface MachineUse {
  /** Processors of a host that it uses now. */
  cpus: number;
  /** Those that it is expected to use for the next while, on average. */
  expected: number;
  /** Its standard deviation from that; absent: it is not known. */
  deviation?: number;
  /** It is expected because it is usual in the hour of the week that begins then, ms since the epoch; absent: it was so in the last while. */
  usualAt?: number;
  /** What else it is expected to use; absent: nobody has told. */
  demand?: Demand;
}

/** As its agent tells it. */
export const demandIn = ({ disk, network, hostMemoryBytes }: Usage): Demand => ({
  iops: disk.operationsPerSecond,
  diskBytes: disk.readBytesPerSecond + disk.writtenBytesPerSecond,
  networkBytes: Math.max(network.receivedBytesPerSecond, network.sentBytesPerSecond),
  memoryBytes: hostMemoryBytes,
});

/** Moves fill a host's processors up to here; the rest is for what nobody expects. */
export const FULL = 0.8;
/** A host of which more is expected is relieved. */
export const HOT = 0.95;
/** The same of a host that has a machine with high latency sensitivity: its guest finds a free processor at once. */
export const SENSITIVE_FULL = 0.5;
export const SENSITIVE_HOT = 0.65;
/** What is expected of a host is so many standard deviations of all its machines together above the mean. */
export const MARGIN = 1;
/** Of the CPUs of a machine that was not measured. */
const UNKNOWN = 0.25;

/** Processors of which machines have a share. */
export const processorsOf = ({ processors, cpus }: Pick<HostView, "processors" | "cpus">): number =>
  processors ?? cpus / OVERCOMMIT;

const STEPS = 4;

/** Processors, to a fifth: machines that use about the same are judged together. */
export const expectedOf = ({ expected }: Pick<MachineUse, "expected">): number =>
  2 ** (Math.round(Math.log2(Math.max(0.01, expected)) * STEPS) / STEPS);

/** The share of a host's processors' time that watts are reckoned by. */
export const drawOn = (
  { use, cpus }: Pick<MachineView, "use" | "cpus">,
  host: Pick<HostView, "processors" | "cpus">,
): number => shareOn(cpus, use && expectedOf(use), host.cpus, processorsOf(host));

/** Thousandths of a processor that it takes of a host's `roomOf`. */
export const busyOf = ({ use, cpus }: Pick<MachineView, "use" | "cpus">): number =>
  Math.round(((use ? use.expected : cpus * UNKNOWN) * 1000) / FULL);

/** The square of its deviation, in such thousandths: of several machines these add up, since one is seldom busy because another is. */
export const noiseOf = ({ use }: Pick<MachineView, "use">): number =>
  Math.round((((use?.deviation ?? 0) * 1000) / FULL) ** 2);

/**
 * The square of how far a machine that was not measured may be off, in such thousandths: as far as it is taken to use, so that a small host, on which few even out, gets fewer of
 * these for each of its processors. Machines of public traces are 14 (Google), 17 (PlanetLab) and 24 % of their CPUs (Bitbrains) off their mean of 22, 12 and 9 %.
 */
export const unsureOf = (machine: Pick<MachineView, "use" | "cpus">): number =>
  machine.use ? 0 : busyOf(machine) ** 2;

export const roomOf = (host: Pick<HostView, "processors" | "cpus">): number =>
  Math.round(processorsOf(host) * 1000);
