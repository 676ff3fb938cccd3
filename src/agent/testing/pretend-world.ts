/**
 * What several pretended hypervisors share, in memory, for seeded crash tests: it outlives agents as QEMU processes do. It checks rule 1 at every step: a disk is open
 * for writing by at most one machine. As in QEMU, a machine opens its disks at `cont`, lets go of them in postmigrate, and image locks are NOT simulated: they must never
 * be what saves us.
 */

import type { Copying } from "../../qemu/copying.ts";
import type { LayerTool } from "../disks/layer-tool.ts";
import type {
  DiskProgress,
  MachineConfig,
  MachineEnd,
  MachineId,
  MachineState,
  MigrationProgress,
} from "../hypervisor.ts";
import { LocalDisks } from "./local-disks.ts";

export interface Machine {
  host: string;
  config: MachineConfig;
  pid: number;
  state: MachineState["state"];
  bootedAt: number;
  pausedBy?: string;
  paused?: boolean;
  brokeDownMs?: number;
  /** Resets that were asked for, and done. */
  resets: string[];
  end?: MachineEnd;
  stopRequested?: boolean;
  migration: MigrationProgress;
  target?: MachineId;
  /** Received memory from a machine that ran on afterwards: running it would put old memory over newer disks. */
  stale?: boolean;
  /** What the guest has in mind. */
  memory?: number;
  disconnected?: boolean;
  /** Whom the guest takes itself for: the machine that it was booted as, or given the identity of. */
  identity?: string;
  /** Its disks, on their way to another host. */
  copies?: DiskProgress & { target: MachineId };
  /** Its guest may write its disks only slowly, for a move. */
  slowed?: boolean;
}

export const IDLE: MigrationProgress = {
  phase: "none",
  transferredBytes: 0,
  remainingBytes: 0,
  totalMs: 0,
  downtimeMs: 0,
  dirtyBytesPerSecond: 0,
};

/** What tests let go wrong. */
export type Faulty =
  | "activeLayers"
  | "switchLayers"
  | "absorbLayer"
  | "resume"
  | "kill"
  | "layers"
  | keyof LayerTool;

export interface PretendOptions {
  /** 0 … 1; seeded, so that a run can be repeated. */
  random: () => number;
  /** Longest time of a step (a start, a stream), ms. */
  stepMs: number;
  /** Chance that a stream breaks. */
  breakage: number;
}

export class PretendWorld {
  readonly #machines = new Map<MachineId, Machine>();
  /** Every breach of rule 1, in words. Must stay empty. */
  readonly violations: string[] = [];
  /** Machines that were sent to one with other hardware, which QEMU does not take. */
  readonly unfit: string[] = [];
  /** Whose memory is kept for others to go on with; how often their agents have looked at them meanwhile, and what their guests were asked. */
  readonly saving = new Set<MachineId>();
  readonly whileSaving = { looks: 0, asked: [] as string[] };
  /** How often guests still refuse to become somebody else. */
  refusals = 0;
  /** What was run in guests. */
  readonly executed: string[] = [];
  /** What happened, for the trace of a failed run. */
  readonly trace: string[] = [];
  /** What the guests have written: by layer, the last thing. */
  readonly contents = new Map<string, number>();
  /** What is lost of a layer that was merged into another one when its machine ends now. */
  readonly unflushed = new Map<MachineId, () => void>();
  /** While a test says so, a memory that is kept goes on: so far it is `now`, until it is `done`. */
  copying: { now: Copying; done: Promise<void> } | undefined;
  /** Saved memories, by file: what the guest had in mind, and what was on its disk at that instant. */
  readonly memories = new Map<
    string,
    Pick<Machine, "memory" | "identity"> & { content: number | undefined }
  >();
  /** Disks that hosts do not share: which host has what of them. */
  readonly local = new LocalDisks((text) => this.violations.push(text));
  /** Whether guests do not hear the power button. */
  deaf = false;
  /** Whether there is no room for memory. */
  full = false;
  /** Guests whose file systems are frozen; undefined where they cannot be. */
  frozen: Set<MachineId> | undefined;
  /** Called before and after what a call does; what it throws, the caller gets. */
  fault: (call: Faulty, when: "before" | "after") => void = () => {};
  readonly options: PretendOptions;
  #nextPid = 1000;
  /** Whoever was on a host or had a disk once: thousands of hosts do not look through all machines. */
  readonly #seenOn = new Map<string, Set<MachineId>>();
  readonly #seenWith = new Map<string, Set<MachineId>>();
  readonly #listeners = new Map<string, Set<(id: MachineId) => void>>();

  constructor(options: PretendOptions) {
    this.options = options;
  }

  get machines(): ReadonlyMap<MachineId, Machine> {
    return this.#machines;
  }

  get nextPid(): number {
    return this.#nextPid++;
  }

  /** A step of up to `stepMs`. */
  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.options.random() * this.options.stepMs));
  }

  set(id: MachineId, change: Partial<Machine>): void {
    const machine = this.#machines.get(id);
    if (!machine) return;
    const ran = machine.state === "running";
    Object.assign(machine, change);
    if (machine.state === "ended") {
      this.unflushed.get(id)?.();
      this.unflushed.delete(id);
    }
    this.#see(id, machine);
    if (machine.state === "running" && !ran) this.#runs(machine);
    this.trace.push(`${machine.config.name}@${machine.host} ${machine.state} ${machine.migration.phase}`);
    this.#check(machine);
    for (const listener of this.#listeners.get(machine.host) ?? []) listener(id);
  }

  add(id: MachineId, machine: Machine): void {
    this.#machines.set(id, machine);
    if (machine.state === "running") this.#runs(machine);
    this.set(id, {});
  }

  #see(id: MachineId, { host, config }: Machine): void {
    note(this.#seenOn, host, id);
    for (const { path } of config.disks) note(this.#seenWith, path, id);
  }

  #those(ids: Iterable<MachineId> = []): [MachineId, Machine][] {
    return [...ids].flatMap((id) => {
      const machine = this.#machines.get(id);
      return machine ? [[id, machine] as [MachineId, Machine]] : [];
    });
  }

  /** The machines of a host. */
  on(host: string): [MachineId, Machine][] {
    return this.#those(this.#seenOn.get(host)).filter(([, machine]) => machine.host === host);
  }

  #runs({ config, host }: Machine): void {
    for (const { path } of config.disks) this.local.runs(path, host, config.name);
  }

  forget(id: MachineId): void {
    this.#machines.delete(id);
  }

  subscribe(host: string, listener: (id: MachineId) => void): () => void {
    const set = this.#listeners.get(host) ?? new Set();
    this.#listeners.set(host, set.add(listener));
    return () => set.delete(listener);
  }

  /** The machines that have `path` open for writing now. */
  writersOf(path: string): Machine[] {
    return this.#those(this.#seenWith.get(path)).flatMap(([, m]) =>
      (m.state === "running" || m.state === "paused") &&
      m.config.disks.some((d) => d.path === path && !d.readOnly)
        ? [m]
        : [],
    );
  }

  /** Nothing but what has just changed can have broken it. */
  #check({ state, identity, config, disconnected, host }: Machine): void {
    if (state === "running" && !disconnected && identity && identity !== config.uuid)
      this.violations.push(`${config.name}@${host} is on its networks as another machine`);
    for (const { path } of config.disks) {
      // An incoming machine whose memory has arrived is `received`: paused, but its disks are not activated before `cont`.
      const writers = this.writersOf(path).filter(
        (m) => !(m.state === "paused" && m.migration.phase === "none" && m.target === ARRIVED),
      );
      if (writers.length > 1)
        this.violations.push(
          `${path} is open for writing by ${writers.map((m) => `${m.config.name}@${m.host}`).join(" and ")}`,
        );
    }
  }

  /** The machine's process dies, as by SIGKILL. */
  crash(id: MachineId): void {
    this.set(id, { state: "ended", end: { reason: "Killed", message: "killed by the test" } });
  }
}

function note(seen: Map<string, Set<MachineId>>, key: string, id: MachineId): void {
  const ids = seen.get(key) ?? new Set();
  seen.set(key, ids.add(id));
}

/** Marks a paused incoming machine whose disks are not active yet. */
export const ARRIVED = "arrived" as MachineId;
