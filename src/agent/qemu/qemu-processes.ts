/**
 * A machine's QEMU from before its spawn to after its end: what it has of its host, what it sees of it, and its exit status. Whatever is kept in mind here
 * is of processes of our own; those of an agent before are found by their records.
 */
import { closeSync } from "node:fs";
import type { Resources } from "../../compute/resources/kinds.ts";
import { commandLine, defaultCpu } from "../../qemu/command-line.ts";
import { readableErrors } from "../../qemu/end.ts";
import { runState } from "../../qemu/migration.ts";
import { type Exit, makeFifo, spawnQemu } from "../../qemu/process.ts";
import { QmpError } from "../../qemu/qmp.ts";
import { startTpm } from "../../qemu/tpm.ts";
import type { Logger } from "../../reconcile/log.ts";
import { toMiB } from "../../resource/quantity.ts";
import { bootId } from "../../system/boot-id.ts";
import type { ProcessIdentity } from "../../system/process.ts";
import { bothOf } from "../both.ts";
import type { MachineConsoles } from "../consoles/machine-consoles.ts";
import {
  HypervisorError,
  type MachineConfig,
  type MachineEnd,
  type MachineId,
  type MachineState,
} from "../hypervisor.ts";
import type { Outward } from "../network/outward.ts";
import { reasonOf } from "../reasons.ts";
import { HostShare } from "./host-share.ts";
import { processOf } from "./own-process.ts";
import type { Access } from "./qemu-access.ts";
import { ramOf } from "./qemu-changes.ts";
import { endSwtpms } from "./qemu-leftovers.ts";
import type { Monitors } from "./qemu-monitors.ts";
import { QemuPrograms } from "./qemu-programs.ts";
import type { MachineFolder, MachineRecord } from "./qemu-record.ts";
import type { Found } from "./qemu-records.ts";
import { endProcess } from "./qemu-stop.ts";
import { reachOf } from "./reach.ts";
import { SHARED_FD, type Shared, SharedMemory } from "./shared-memory.ts";

/** What it needs of the hypervisor. */
interface Needs {
  at: Access;
  monitors: Monitors;
  consoles: Pick<MachineConsoles, "begin">;
  /** What is told of a machine that is there. */
  state: (found: Found) => Promise<MachineState>;
  /** Something about it may have changed. */
  nudge: (id: MachineId) => void;
  /** What QEMUs reach over IP; all that their host does when absent. */
  outward: Outward | undefined;
  log: Logger;
}

export class Processes {
  readonly #needs: Needs;
  readonly #programs: QemuPrograms;
  readonly #share = new HostShare();
  /** Starts under way: a second call of the same joins the first. */
  readonly #starting = new Map<MachineId, Promise<MachineState>>();
  readonly #shared: SharedMemory;
  /** The memory that they share is being made. */
  readonly #filling = new Map<MachineId, Promise<string>>();
  /** Processes of our own: they are over once their exit status is on disk. */
  readonly #exits = new Map<MachineId, Promise<void>>();

  /** @param binary qemu-system-x86_64 when absent */
  constructor(binary: string | undefined, needs: Needs) {
    this.#needs = needs;
    this.#programs = new QemuPrograms(binary);
    this.#shared = new SharedMemory(needs.log);
  }

  /** As Hypervisor.start. */
  start(config: MachineConfig, how: "run" | "incoming"): Promise<MachineState> {
    const under = this.#starting.get(config.id);
    if (under) return under;
    const starting = this.#start(config, how).finally(() => this.#starting.delete(config.id));
    this.#starting.set(config.id, starting);
    return starting;
  }

  /** Those of which there may be no process yet. */
  starting(): MachineId[] {
    return [...this.#starting.keys()];
  }

  /** Resolves once the memory that it shares is whole; undefined when it shares none, or has it. */
  filling(id: MachineId): Promise<string> | undefined {
    return this.#filling.get(id);
  }

  filled(id: MachineId): void {
    this.#filling.delete(id);
  }

  /** As Hypervisor.kill. */
  async kill({ folder, record, process }: Found, end?: MachineEnd): Promise<void> {
    if (!process) return;
    folder.update((now) => ({ ...now, stopRequested: true, ...(end ? { end } : {}) }));
    await endProcess(process, record.config.name);
    await this.gone(record.config.id, folder);
  }

  /** Its process is: what it had of the host is others'. */
  async gone(id: MachineId, folder: MachineFolder): Promise<void> {
    this.#share.remove(folder.name);
    this.#needs.monitors.drop(id);
    await this.#share.rebalance(this.#needs.at.records.running(id));
  }

  /** Nobody is to ask for it any more. */
  async forget(id: MachineId, folder: MachineFolder): Promise<void> {
    this.#exits.delete(id);
    this.#filling.delete(id);
    try {
      await this.gone(id, folder);
    } finally {
      folder.remove();
    }
  }

  /** As Hypervisor.confine. */
  async confine(): Promise<void> {
    await this.#needs.outward?.set(() => this.#needs.at.records.users());
  }

  /** Of one that an agent before has left. */
  removeLeft(folder: MachineFolder): void {
    this.#share.remove(folder.name);
    folder.remove();
  }

  /** Resolves once the exit status of a process of our own is on disk. */
  async exited(id: MachineId): Promise<void> {
    await this.#exits.get(id);
  }

  /** How many processes of it the kernel has killed for want of memory; undefined when that is not known. */
  oomKills(name: string): number | undefined {
    return this.#share.oomKills(name);
  }

  /** As Hypervisor.share. */
  async share(id: MachineId, resources: Resources): Promise<string | undefined> {
    const { at } = this.#needs;
    const { process, folder, record } = at.records.need(id);
    const others = at.records.running(id);
    return (
      process && this.#share.apply(folder.name, process.pid, record, resources, () => at.monitor(id), others)
    );
  }

  close(): void {
    this.#shared.close();
  }

  async #start(config: MachineConfig, how: "run" | "incoming"): Promise<MachineState> {
    const { at, state } = this.#needs;
    let there = at.records.find(config.id);
    // An agent died while it made the memory that it shares, and it has part of that.
    if (there?.process && there.record.shared === "filling" && !this.#filling.has(config.id)) {
      await this.kill(there);
      there = undefined;
    }
    if (there) {
      // An agent died between the spawn and `cont`. Not for an incoming machine: that one waits for custody.
      if (there.process && how === "run" && there.record.how === "run" && !there.record.paused)
        await at.with(config.id, async (qmp) => {
          if ((await runState(qmp)) === "prelaunch") await qmp.execute("cont");
        });
      return state(there);
    }
    const machineType = config.machineType ?? (await this.#programs.machineType(config));
    const folder = at.records.folderOf(config.id);
    endSwtpms(folder);
    folder.remove();
    folder.create(config.user);
    const shared = await this.#shareTemplate(config);
    return this.#begin(config, how, folder, machineType, shared).finally(() => {
      if (shared) closeSync(shared.fd);
    });
  }

  /** In an empty folder. What is left of one that does not come up is removed. @throws HypervisorError */
  async #begin(
    config: MachineConfig,
    how: "run" | "incoming",
    folder: MachineFolder,
    machineType: string,
    shared: Shared | undefined,
  ): Promise<MachineState> {
    const { id, name, paused, accelerator } = config;
    const { at, monitors } = this.#needs;
    const record = this.#record(config, how, machineType, shared !== undefined);
    // The record first: an agent that dies just after the spawn finds the process by the folder in its arguments.
    folder.write(record);
    let endTpm = () => {};
    try {
      await this.#needs.outward?.confine(config.user.uid);
      if (config.tpm) endTpm = await startOwnTpm(folder, config, config.tpm);
      const process = await this.#spawn(folder, record, shared);
      const qmp = await monitors.await(id, folder.files.qmp, process);
      folder.secure();
      await this.#share.settle(process.pid, record, async () => qmp, at.records.running(id));
      await this.#needs.consoles.begin(id, folder, qmp);
      if (how === "run" && !paused) await qmp.execute("cont");
      const state = how === "incoming" ? "incoming" : paused ? "paused" : "running";
      const as = paused ? { paused: true, ...(how === "run" ? { pausedBy: "user" } : {}) } : {};
      const own = record.place ? { place: record.place } : {};
      const { guestCpu } = record.config;
      const cpu = guestCpu ? { guestCpu } : {};
      return { id, pid: process.pid, state, machineType, ...cpu, accelerator, ...as, ...own };
    } catch (cause) {
      endTpm();
      // Killed first, and waited for, so that its last words are all there and its sockets are free.
      const process = processOf(folder, folder.read() ?? record);
      // One that cannot be killed keeps its record, and its disks.
      if (process) await endProcess(process, name);
      const said = readableErrors(folder.stderr()).join("; ");
      // Others, which get CPUs back, may end in between: why this one did not start is what counts.
      await this.forget(id, folder).catch((error) =>
        this.#needs.log.warn("machine.start.undo", { vm: name, error }),
      );
      throw new HypervisorError(`QEMU did not start ${name}: ${said || whyNot(cause)}`, { cause });
    }
  }

  /** To be written before anything else is awaited: then no other start chooses the same of the host. @throws HypervisorError as HostShare.place */
  #record(
    config: MachineConfig,
    how: "run" | "incoming",
    machineType: string,
    isShared: boolean,
  ): MachineRecord {
    const others = this.#needs.at.records.running(config.id);
    const place = this.#share.place(config, others);
    const merges = mergesWith(config, others);
    return {
      config: { ...config, guestCpu: config.guestCpu ?? defaultCpu(config.accelerator, config.hardware) },
      ...(place ? { place } : {}),
      ...(merges ? { merges } : {}),
      ...(isShared ? { shared: "filling" } : {}),
      machineType,
      how,
      stopRequested: false,
      bootId: bootId(),
      ...(config.paused ? { paused: true } : {}),
      ...(config.onPanic ? { onPanic: config.onPanic } : {}),
    };
  }

  async #spawn(
    folder: MachineFolder,
    record: MachineRecord,
    shared: Shared | undefined,
  ): Promise<ProcessIdentity> {
    const { config, machineType, how } = record;
    const { tpm, ...rest } = config;
    const args = commandLine(
      {
        ...rest,
        ...(tpm ? { tpm: folder.files.tpm } : {}),
        uuid: config.uuid ?? config.id,
        memoryMiB: toMiB(config.memory),
        ram: { ...ramOf(record), ...(shared ? { fd: SHARED_FD } : {}) },
        machineType,
      },
      folder.files,
      how,
    );
    const [reach] = await bothOf(reachOf(config, folder.path), makeFifo(folder.files.fifo));
    const command = [...folder.enclose(reach, config.user), this.#programs.of(config), ...args];
    const begun = (process: ProcessIdentity) => {
      folder.write({ ...record, process });
      this.#share.begin(folder.name, process.pid, config);
    };
    const fds = shared ? [shared.fd] : [];
    const { identity, exit } = await spawnQemu(command, folder.files, begun, fds);
    this.#awaitExit(config.id, folder, exit);
    return identity;
  }

  async #shareTemplate(config: MachineConfig): Promise<Shared | undefined> {
    const { id, template, memory, resources } = config;
    // What is its own from the start is taken before the rest is there.
    if (!template || resources?.hugepages || resources?.singleNumaNode) return undefined;
    const holders = this.#needs.at.records
      .running(id)
      .flatMap(({ config, shared, process }) =>
        config.template === template && typeof shared === "object" && process
          ? [{ pid: process.pid, mark: shared.mark }]
          : [],
      );
    const made = await this.#shared.of(template, memory, holders);
    if (made) this.#filling.set(id, made.whole);
    return made;
  }

  #awaitExit(id: MachineId, folder: MachineFolder, exit: Promise<Exit>): void {
    const written = exit.then((how) => {
      if (this.#exits.get(id) === written) {
        folder.writeExit(how);
        this.#exits.delete(id);
      }
      this.#needs.nudge(id);
    });
    this.#exits.set(id, written);
  }
}

/** It runs before its QEMU does. @param stateFolder where what it holds is kept @returns what ends it when that does not come */
function startOwnTpm(
  folder: MachineFolder,
  { user }: MachineConfig,
  stateFolder: string,
): Promise<() => void> {
  const { tpm: socket, tpmLog: log } = folder.files;
  const reach = { writable: [folder.path, stateFolder], readable: [], devices: [] };
  return startTpm({ stateFolder, socket, log }, folder.enclose(reach, user, "tpm"));
}

/** The kernel merges whatever may be merged: while it may merge those of one project, no other may. Huge pages are not merged. */
const mergesWith = ({ mergeWith, resources }: MachineConfig, others: readonly MachineRecord[]) =>
  !resources?.hugepages && others.every(({ merges = mergeWith }) => merges === mergeWith)
    ? mergeWith
    : undefined;

/** A start that failed before QEMU could say why: what the programs around it said is for users, other errors are ours. */
function whyNot(cause: unknown): string {
  if (cause instanceof QmpError) return "it does not answer; is this host overloaded?";
  const isMissing = cause instanceof Error && "syscall" in cause && /^spawn .* ENOENT/.test(cause.message);
  return isMissing ? `${cause.syscall}: No such file; is QEMU installed on this host?` : reasonOf(cause);
}
