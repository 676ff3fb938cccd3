/**
 * What the agent needs of a hypervisor. Two implementations: QemuHypervisor (real, agent/qemu/qemu-hypervisor.ts, over the qemu room)
 * and PretendHypervisor (agent/testing/pretend-hypervisor.ts, in memory; for seeded crash tests and simulated agents only).
 *
 * A machine is named by the uid of its Instance. Every call is idempotent: an agent that was killed in the middle calls again.
 * Machines outlive the agent; `list` finds them again from their records and proves by process identity that they are them.
 */
import type { WholeHardware } from "../compute/hardware/kinds.ts";
import type { Resources } from "../compute/resources/kinds.ts";
import type { Cd } from "../qemu/cd.ts";
import type { More } from "../qemu/command-line.ts";
import type { Copying } from "../qemu/copying.ts";
import type { Disk, Nic } from "../qemu/devices.ts";
import type { EndReason } from "../qemu/end.ts";
import type { Fixed } from "../qemu/fixed.ts";
import type { GuestExit, GuestProgram } from "../qemu/guest-exec.ts";
import type { LackingMemory } from "../qemu/hot-memory.ts";
import type { Adjusted, Present } from "../qemu/hotplug.ts";
import type { MigrationStatus } from "../qemu/migration.ts";
import type { ProcessUsage } from "../qemu/usage.ts";
import type { Bytes } from "../resource/quantity.ts";
import type { Down } from "./disks/layer-merging.ts";
import type { Place } from "./qemu/own-place.ts";
import type { Trace } from "./traces.ts";

declare const machineBrand: unique symbol;
/** The uid of an Instance. */
export type MachineId = string & { readonly [machineBrand]: true };

/** `path`: absolute, of the overlay (or seed image). `sizeBytes`: it is to have at least that. */
export type DiskConfig = Disk & { sizeBytes?: number };

/** A tap that exists and is attached already, or QEMU's user network where taps cannot be had. */
export type NicConfig = Nic;

/** A CD drive; `lacking`: why what is to be in it cannot be had here, for users. */
export type CdConfig = Cd & { lacking?: string };

/** The whole record a machine is started from; kept beside the machine so that an adopting agent and a migration target use the same. */
export interface MachineConfig {
  id: MachineId;
  /** For people: shows in ps as the guest's name. */
  name: string;
  cpus: number;
  memory: Bytes;
  /** Room for more CPUs and memory, and what has come of it; none when absent. */
  more?: More;
  disks: DiskConfig[];
  cds?: CdConfig[];
  /** Of the machine alone: what is made in there while it runs is reached, too. Of everything else, only the files that are named here. */
  folders?: string[];
  /** Folders of images, to read: of one of them a disk may be made, or it comes into a drive, while the machine runs. */
  images?: string[];
  nics: NicConfig[];
  /** Places for disks and networks that come and go; none when absent, as of machines from before there were any. */
  ports?: number;
  boot?: { kernel: string; initrd: string; commandLine: string };
  /** How it looks to the guest; as machines of today when absent. */
  hardware?: WholeHardware;
  /** The folder of its TPM's state; no TPM when absent. */
  tpm?: string;
  /** UEFI; the BIOS when absent. `secure`: only its own code writes the variables, for Secure Boot. */
  firmware?: { code: string; variables: DiskConfig; secure: boolean };
  accelerator: "kvm" | "tcg";
  /** "pc-q35-7.2" when the machine was it before, else the newest this QEMU has. */
  machineType?: string;
  /** QEMU's CPU model; absent: that of the host under KVM, qemu64 under TCG. */
  guestCpu?: string;
  /** What the guest sees as the machine's own; `id` when absent. */
  uuid?: string;
  /** The VM generation id that the guest is told; no device for it when absent. */
  generationId?: string;
  /** How it shares its host, and what of it is its own. */
  resources?: Resources;
  /** Its guest stands still from the beginning, until setPaused. */
  paused?: boolean;
  /** What becomes of it when its guest panics; `end` when absent. */
  onPanic?: PanicAction;
  /** Its memory may be merged with that of others which say the same, while no other may be merged. */
  mergeWith?: string;
  /** A file of saveMemory, whose memory was kept apart: it begins with that, shared with others which do, where that can be. */
  template?: string;
  /** Of an incoming machine: the host that sends it. No other may, and with TLS none at all when absent. */
  sender?: string;
  /** Numeric uid and gid QEMU runs as. */
  user: { uid: number; gid: number };
}

/** end: its run is over. pause: its guest stands still, so that its memory can be looked at. */
export type PanicAction = "end" | "pause";

/** How a machine ended, told from the event journal (see qemu/end.ts for the table). */
export interface MachineEnd {
  reason: EndReason | "Suspended" | "ResumeFailed" | "MemoryLost";
  message: string;
}

export interface MachineState {
  id: MachineId;
  pid: number;
  /**
   * incoming: waits for a migration. running, paused: as QEMU says. postmigrate: its memory has been handed over; disks unlocked.
   * ended: no process any more; `end` says why. Stays listed until `forget`.
   */
  state: "incoming" | "running" | "paused" | "postmigrate" | "ended";
  machineType: string;
  /** The CPU model that its guest sees; absent of one started by an older agent. */
  guestCpu?: string;
  /** What of its host is its own. */
  place?: Place;
  /** Absent where nothing runs guests but in name. */
  accelerator?: MachineConfig["accelerator"];
  /**
   * Why one stands still, in QEMU's word: io-error (storage-full when that is why), guest-panicked, internal-error, watchdog, paused; "user": by
   * setPaused; what we do with its memory, "migration", "snapshot", "suspend" (this also of one that has ended); or "lost": the rest of its
   * memory will never come (post-copy).
   */
  pausedBy?: string;
  /** Its network cards have no link. */
  disconnected?: boolean;
  /** setPaused said so. It may stand still for another reason, or be about to. */
  paused?: boolean;
  /** When its watchdog last acted, or its guest panicked; ms since the epoch. */
  brokeDownMs?: number;
  end?: MachineEnd;
}

/** How a machine is sent. */
export interface SendOptions {
  /** The name in the target's certificate; that of the address when absent. */
  tlsHostname?: string;
  /** That it may use of the link at most. */
  bytesPerSecond?: number;
  /** That the guest may stand still for the switchover at most; eased up to 2 s for one that writes much when absent. */
  downtimeMs?: number;
  /** The target listens for it. */
  postCopy?: boolean;
  /** Nothing is left to be done in pre-switchover: it goes on by itself, and `switchover` waits for the end. */
  switchesOver?: boolean;
}

export interface MigrationProgress extends Omit<MigrationStatus, "status"> {
  /** post-copy: the machine is the target's, which still gets memory from here. */
  phase: "none" | "active" | "pre-switchover" | "post-copy" | "completed" | "failed" | "cancelled";
}

/** Where the disks go, and how: at most so many bytes a second of all together. */
export interface DiskTarget extends Pick<SendOptions, "tlsHostname" | "bytesPerSecond"> {
  /** Of its listenForDisks. */
  address: string;
  /** Files that go along although the guest does not have them as disks: of detached disks, and layers that snapshots froze. */
  besides: readonly DiskConfig[];
  /** Names (disk-copies.ts) of those that have the same below them there: only what they hold themselves goes. */
  linked: readonly string[];
}

/** How far the disks are that go along with a migration. */
export interface DiskProgress extends Copying {
  /** ready: the target has all, and gets each write of the guest. finished: the guest stands still, and both are the same. */
  phase: "none" | "copying" | "ready" | "finished" | "failed";
  error?: string;
}

/** How far the dump of a guest's memory has come. */
export type DumpState = { state: "active" } | { state: "done"; sizeBytes: number };

/** A layer of a disk that the guest writes to, and an empty overlay of it that is to take its place. Absolute paths. */
export interface LayerSwitch {
  from: string;
  to: string;
}

export interface HowToSave {
  /** So that many can go on with it at once, where that can be: the guest stands still until it is copied. */
  apart?: boolean;
}

export interface SavedMemory {
  /** How long the guest stood still. */
  pauseMs: number;
  /** Whether it ran while its memory was written. */
  live: boolean;
  /** Of the file. */
  sizeBytes: number;
}

export interface NicUsage {
  receivedBytes: number;
  sentBytes: number;
}

export interface MachineUsage extends ProcessUsage {
  /** As the guest sees them; none of a machine without taps. */
  nics: NicUsage[];
}

/** What of a machine changes while it runs. `cpus`, `memory`: in all; no more than there is room for. `lacking`: why the guest may have no more of it than it has. */
export type Adjustable = Pick<MachineConfig, "disks" | "cds" | "nics" | "cpus" | "memory"> & {
  memoryTarget?: Bytes;
  lacking?: LackingMemory;
};

export interface Hypervisor {
  /** Everything of ours that runs here or has ended and was not forgotten; cheap enough to call every few seconds. */
  list(): Promise<MachineState[]>;
  get(id: MachineId): Promise<MachineState | undefined>;
  /** Starts it paused-then-running, or waiting for a migration. No-op when it is there already. @throws HypervisorError (reason for users); then none runs, or `kill` says that one does. */
  start(config: MachineConfig, how: "run" | "incoming"): Promise<MachineState>;
  /** Opens the listener of an incoming machine on `bindAddress`; the same answer when called again. @returns "tcp:IP:PORT" */
  listen(id: MachineId, bindAddress: string, postCopy?: boolean): Promise<string>;
  /**
   * Lets the source write this incoming machine's disks, which are empty, until `resume`; also the files `besides`. The same answer when called again.
   * @returns "tcp:IP:PORT"
   */
  listenForDisks(id: MachineId, bindAddress: string, besides: readonly DiskConfig[]): Promise<string>;
  /**
   * A paused, incoming-complete or postmigrate machine takes its disks and runs (`cont`), and announces its addresses; one that is to be paused takes its disks and
   * stands still. No-op when it runs. @throws while the memory has not all arrived.
   */
  resume(id: MachineId): Promise<void>;
  /** Has the guest stand still, or go on unless it stands still for another reason too. What was said last counts, also after `resume`. */
  setPaused(id: MachineId, paused: boolean): Promise<void>;
  /** From now on. */
  setOnPanic(id: MachineId, action: PanicAction): Promise<void>;
  /** The reset button, once for each `request`, however often it is called. One that is not to be paused runs after it. */
  reset(id: MachineId, request: string): Promise<void>;
  /**
   * Starts sending the machine to `address`; stops before the switchover. No-op when under way. Under TCG the guest stands still for the
   * first moment (pausedBy "migration"), and on boards whose writes cannot be tracked until it runs at the target, or here again.
   */
  migrate(id: MachineId, address: string, how?: SendOptions): Promise<void>;
  /** After migrate with postCopy: the switchover does not wait for the rest of the memory. No-op when it is too late for that. */
  startPostCopy(id: MachineId): Promise<void>;
  migration(id: MachineId): Promise<MigrationProgress>;
  /**
   * From pre-switchover on: resolves with the progress of the end (completed, post-copy, or failed: then the machine runs on), however long that takes while
   * something gets to the target.
   */
  switchover(id: MachineId): Promise<MigrationProgress>;
  /** Begins to copy the disks, while the guest runs; before `migrate`. No-op when under way. */
  copyDisks(id: MachineId, to: DiskTarget): Promise<void>;
  diskCopies(id: MachineId): Promise<DiskProgress>;
  /** Of each disk no more than so many bytes a second are written from now on, until abandonDiskCopies. */
  slowWrites(id: MachineId, bytesPerSecond: number): Promise<void>;
  /** In pre-switchover: the last writes go, and then the copies are the same. May be called again. @throws HypervisorError when they are not */
  finishDiskCopies(id: MachineId): Promise<void>;
  /** What there is of them in its QEMU, for people; nothing when none were begun, or all is ended. */
  leftCopies(id: MachineId): Promise<string[]>;
  /** Ends them, and forgets that they were. No-op when there are none. */
  abandonDiskCopies(id: MachineId): Promise<void>;
  /** Takes this host's credentials out of its QEMU, of a machine that is not being moved. No-op when there are none. */
  dropCredentials(id: MachineId): Promise<void>;
  /** Calls a migration off; the machine runs on. No-op when there is none. */
  cancelMigration(id: MachineId): Promise<void>;
  /** The ACPI power button; the guest may shut down then. @returns whether it can hear it */
  powerDown(id: MachineId): Promise<boolean>;
  /** ACPI power button, then `quit` after graceMs, then SIGTERM, SIGKILL; resolves when the process is gone. */
  stop(id: MachineId, graceMs: number): Promise<void>;
  /**
   * At once, for machines that must not run any more; no-op for one that does not. Resolves when the process is gone. @param end how that is told; Requested when
   * absent @throws HypervisorError when it is not gone within a minute: its disks are its own until it is
   */
  kill(id: MachineId, end?: MachineEnd): Promise<void>;
  /** Removes the records of an ended machine. */
  forget(id: MachineId): Promise<void>;
  /** Has what all its machines' processes reach be as it should, also of those that an agent before has left, and whatever somebody did to it. @throws Error */
  confine(): Promise<void>;
  /** What is here of machines that run no more, and what an agent that was killed left of those that do. */
  traces(): Promise<Trace[]>;
  /** Runs a qemu-ga command; undefined when no agent answers within timeoutMs. */
  guestAgent(id: MachineId, command: string, timeoutMs: number): Promise<unknown | undefined>;
  /** Its share of the host's processors, from now on. @returns why it cannot be, for users; undefined when it is so */
  share(id: MachineId, resources: Resources): Promise<string | undefined>;
  /** What it has used since it began; undefined when that cannot be known now. */
  usage(id: MachineId): Promise<MachineUsage | undefined>;
  /** Begins to measure how fast its guest writes to its memory, which takes some seconds. @returns false: not now */
  startDirtyRate(id: MachineId): Promise<boolean>;
  /** Bytes per second, as measured last; undefined: that has not ended. */
  dirtyRate(id: MachineId): Promise<number | undefined>;
  /** Runs a program in the guest to its end. @throws HypervisorError: no agent there, refused, not ended in time */
  guestExec(id: MachineId, program: GuestProgram): Promise<GuestExit>;
  /** Hands text to whoever reads the pipe at `path` in the guest. @throws HypervisorError: no agent there, no such pipe */
  guestTell(id: MachineId, path: string, text: string): Promise<void>;
  /** What it has now: data disks by name, networks by MAC address without colons. */
  present(id: MachineId): Promise<Present & Fixed>;
  /** Gives a running machine the disks and networks that are listed, and its drives what is to be in them, with their sizes and limits, as far as its guest and QEMU let it. */
  adjust(id: MachineId, wanted: Adjustable): Promise<Adjusted & Fixed>;
  /** Gives a user of the guest a password. @throws HypervisorError: no agent there, refused */
  setGuestPassword(id: MachineId, user: string, password: string): Promise<void>;
  /** The layers that the guest writes to now, as paths. */
  activeLayers(id: MachineId): Promise<string[]>;
  /** Switches all at one instant, or none; those switched already stay. @returns for how long, in ms, a write of the guest may have waited */
  switchLayers(id: MachineId, switches: readonly LayerSwitch[]): Promise<number>;
  /**
   * Makes one of `into` and `from`, the layer right below it: copies what `from` holds into `into`, and lets go of `from`; or, where that is less and `down` is there, what
   * `into` holds into `from`, and lets go of `into` once that is sure. Goes on with one that is under way. The guest runs meanwhile.
   * @returns false when the machine does not have `into` open
   */
  absorbLayer(id: MachineId, into: string, from: string, down?: Down): Promise<boolean>;
  /** How far it is with a saveMemory, suspend or absorbLayer that goes on; undefined: none does, or it cannot be told. */
  copying(id: MachineId): Promise<Copying | undefined>;
  /**
   * As switchLayers, of a running machine, with the memory of that instant in a new file. Not to be called again after one that was cut short:
   * abandonMemory is. @throws HypervisorError; the layers may have been switched then, and the guest runs on
   */
  saveMemory(
    id: MachineId,
    switches: readonly LayerSwitch[],
    file: string,
    how?: HowToSave,
  ): Promise<SavedMemory>;
  /** Lets a guest go on that stands still for a saveMemory or suspend that was cut short. */
  abandonMemory(id: MachineId): Promise<void>;
  /**
   * Its memory in a new file, and it stands still (pausedBy "suspend") from then on, its disks written out: to be killed, or to go on by abandonMemory.
   * @throws HypervisorError; the guest runs on
   */
  suspend(id: MachineId, file: string, how?: HowToSave): Promise<SavedMemory>;
  /** Writes the memory of a guest that stands still into `file`, which is there and is its user's; call again until it is done. @throws HypervisorError when it failed */
  dumpMemory(id: MachineId, file: string): Promise<DumpState>;
  /** An incoming machine takes its memory from a file of saveMemory, and waits for `resume`. No-op when it has it. */
  loadMemory(id: MachineId, file: string): Promise<void>;
  /** Takes the link of its network cards away, before an incoming machine runs: nothing that it sends or is sent gets through. */
  disconnect(id: MachineId): Promise<void>;
  /** Gives it back. */
  connect(id: MachineId): Promise<void>;
  /** The hardware addresses that the guest has given its cards, as far as the cards tell. */
  guestMacs(id: MachineId): Promise<string[]>;
  /** Calls back with the machine's id whenever something about it may have changed; a nudge, nothing more. @returns unsubscribe */
  onChange(callback: (id: MachineId) => void): () => void;
}

/** The text is for users (what went wrong, what would fix it); `cause` holds the inside. */
export class HypervisorError extends Error {}

/** QEMU did not answer: what it was told may have been done, may be done later, or never. Nothing may be concluded but from its next answer, or its end. */
export class NoAnswerError extends HypervisorError {}
