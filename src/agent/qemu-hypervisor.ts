/**
 * The real Hypervisor: QEMU processes of this host, driven over QMP. It keeps no state of its own that matters: what runs
 * is found from the records and /proc, how it is from QMP, how it ended from the journal. So an agent can be killed at any point.
 */
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { promisify } from "node:util";
import { commandLine } from "../qemu/command-line.ts";
import { endOf } from "../qemu/end.ts";
import { askGuestAgent } from "../qemu/guest-agent.ts";
import {
  continueSwitchover,
  listenIncoming,
  type MigrationStatus,
  queryMigration,
  startOutgoing,
  type Tls,
} from "../qemu/migration.ts";
import {
  findByArgument,
  isSame,
  type ProcessIdentity,
  sendSignal,
  spawnQemu,
  waitForExit,
} from "../qemu/process.ts";
import { isFields, Qmp, QmpError } from "../qemu/qmp.ts";
import type { Logger } from "../reconcile/log.ts";
import { toMiB } from "../resource/quantity.ts";
import {
  type Hypervisor,
  HypervisorError,
  type MachineConfig,
  type MachineId,
  type MachineState,
  type MigrationProgress,
} from "./hypervisor.ts";
import { MachineFolder, type MachineRecord } from "./qemu-record.ts";

export interface QemuHypervisorOptions {
  /** One folder a machine is made in here; keep the path short (sockets). */
  runDirectory: string;
  binary?: string;
  /** Credentials for migrations between hosts; without them migrations are not encrypted. */
  tls?: Tls;
  log: Logger;
}

/** From spawn to a monitor that answers: QEMU needs well below a second, a busy machine some more. */
const START_MS = 20_000;
const QUIT_MS = 10_000;
const TERM_MS = 5_000;

interface Found {
  folder: MachineFolder;
  record: MachineRecord;
  process: ProcessIdentity | undefined;
}

export class QemuHypervisor implements Hypervisor {
  readonly #options: QemuHypervisorOptions;
  readonly #binary: string;
  readonly #monitors = new Map<MachineId, Promise<Qmp>>();
  readonly #listeners = new Set<(id: MachineId) => void>();
  #newestMachineType: Promise<string> | undefined;

  constructor(options: QemuHypervisorOptions) {
    this.#options = options;
    this.#binary = options.binary ?? "qemu-system-x86_64";
    mkdirSync(options.runDirectory, { recursive: true, mode: 0o755 });
  }

  async list(): Promise<MachineState[]> {
    const states = MachineFolder.all(this.#options.runDirectory).map(async (folder) => {
      const found = this.#look(folder);
      return found && this.#state(found);
    });
    return (await Promise.all(states)).filter((state) => state !== undefined);
  }

  async get(id: MachineId): Promise<MachineState | undefined> {
    const found = this.#find(id);
    return found && this.#state(found);
  }

  async start(config: MachineConfig, how: "run" | "incoming"): Promise<MachineState> {
    const there = this.#find(config.id);
    if (there) {
      const state = await this.#state(there);
      if (how === "run" && state.state === "paused") await this.resume(config.id);
      return (await this.get(config.id)) ?? state;
    }
    const machineType = config.machineType ?? (await this.#machineType());
    const folder = MachineFolder.of(this.#options.runDirectory, config.id);
    folder.remove();
    folder.create(config.user);
    const record: MachineRecord = { config, machineType, how, stopRequested: false };
    // The record first: an agent that dies just after the spawn finds the process by the folder in its arguments.
    folder.write(record);
    const args = commandLine(
      { ...config, uuid: config.id, memoryMiB: toMiB(config.memory), machineType },
      folder.files,
      how,
    );
    try {
      const process = spawnQemu(this.#binary, args, folder.files, config.user);
      folder.write({ ...record, process });
      const qmp = await this.#awaitMonitor(config.id, process);
      if (how === "run") await qmp.execute("cont");
      return { id: config.id, pid: process.pid, state: how === "run" ? "running" : "incoming", machineType };
    } catch (cause) {
      const said = folder.stderr();
      const process = this.#look(folder)?.process;
      if (process) {
        sendSignal(process, "SIGKILL");
        await waitForExit(process, TERM_MS);
      }
      this.#drop(config.id);
      folder.remove();
      throw new HypervisorError(
        `QEMU did not start ${config.name}: ${withoutPrefixes(said) || describe(cause)}`,
        { cause },
      );
    }
  }

  async listen(id: MachineId, bindAddress: string): Promise<string> {
    return this.#with(id, (qmp) => listenIncoming(qmp, bindAddress, this.#options.tls));
  }

  async resume(id: MachineId): Promise<void> {
    const found = this.#need(id);
    await this.#with(id, async (qmp) => {
      const status = await runState(qmp);
      if (status === "running") return;
      if (status === "inmigrate")
        throw new HypervisorError(`${found.record.config.name}: its memory has not all arrived yet`);
      await qmp.execute("cont");
      if (found.record.how !== "incoming") return;
      // Tells the switches where the machine's addresses are now; a few times, because the first may be lost.
      await qmp
        .execute("announce-self", { initial: 20, max: 400, rounds: 5, step: 60 })
        .catch((error: unknown) => this.#options.log.warn("announce-self", { id, error }));
      found.folder.write({ ...found.record, how: "run" });
    });
  }

  async migrate(id: MachineId, address: string, tlsHostname?: string): Promise<void> {
    await this.#with(id, (qmp) => startOutgoing(qmp, address, this.#options.tls, tlsHostname));
  }

  async migration(id: MachineId): Promise<MigrationProgress> {
    return this.#with(id, async (qmp) => progressOf(await queryMigration(qmp)));
  }

  async switchover(id: MachineId): Promise<MigrationProgress> {
    return this.#with(id, async (qmp) => progressOf(await continueSwitchover(qmp)));
  }

  async cancelMigration(id: MachineId): Promise<void> {
    await this.#with(id, async (qmp) => {
      await qmp.execute("migrate_cancel");
      // Cancelling takes a moment; the machine runs on by itself, wherever the migration was.
      for (let i = 0; i < 100; i++) {
        const { status } = await queryMigration(qmp);
        if (["none", "completed", "failed", "cancelled"].includes(status)) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new HypervisorError("the migration could not be called off within 2 s");
    });
  }

  async stop(id: MachineId, graceMs: number): Promise<void> {
    const found = this.#find(id);
    if (!found?.process) return;
    found.folder.write({ ...found.record, stopRequested: true });
    const { process } = found;
    const say = async (command: string) => {
      const qmp = await this.#monitor(id).catch(() => undefined);
      // `quit` closes the monitor, sometimes before it has answered.
      await qmp?.execute(command).catch(() => undefined);
    };
    if (graceMs > 0) {
      // A paused guest would never see the button.
      await say("cont");
      await say("system_powerdown");
      if (await waitForExit(process, graceMs)) return this.#drop(id);
    }
    await say("quit");
    if (!(await waitForExit(process, QUIT_MS))) {
      sendSignal(process, "SIGTERM");
      if (!(await waitForExit(process, TERM_MS))) await this.kill(id);
    }
    this.#drop(id);
  }

  async kill(id: MachineId): Promise<void> {
    const found = this.#find(id);
    if (!found?.process) return;
    found.folder.write({ ...found.record, stopRequested: true });
    sendSignal(found.process, "SIGKILL");
    if (!(await waitForExit(found.process, 60_000)))
      throw new HypervisorError(
        `process ${found.process.pid} of ${found.record.config.name} cannot be killed; is its storage hung?`,
      );
    this.#drop(id);
  }

  async forget(id: MachineId): Promise<void> {
    const found = this.#find(id);
    if (found?.process) throw new HypervisorError(`${found.record.config.name} still runs`);
    this.#drop(id);
    MachineFolder.of(this.#options.runDirectory, id).remove();
  }

  async guestAgent(id: MachineId, command: string, timeoutMs: number): Promise<unknown | undefined> {
    const found = this.#find(id);
    return found?.process ? askGuestAgent(found.folder.files.guestAgent, command, timeoutMs) : undefined;
  }

  onChange(callback: (id: MachineId) => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** Lets go of the monitors; the machines run on. Another agent can then talk to them. */
  close(): void {
    for (const id of [...this.#monitors.keys()]) this.#drop(id);
  }

  // --- inside ---

  #find(id: MachineId): Found | undefined {
    return this.#look(MachineFolder.of(this.#options.runDirectory, id));
  }

  #need(id: MachineId): Found {
    const found = this.#find(id);
    if (!found) throw new HypervisorError(`no machine ${id} runs on this host`);
    return found;
  }

  /** Undefined also for a record whose process was never spawned: nothing ran, `start` begins anew. */
  #look(folder: MachineFolder): Found | undefined {
    const record = folder.read();
    if (!record) return undefined;
    if (record.process)
      return { folder, record, process: isSame(record.process) ? record.process : undefined };
    const process = findByArgument(`${folder.path}/`);
    return process && { folder, record: { ...record, process }, process };
  }

  async #state({ folder, record, process }: Found): Promise<MachineState> {
    const { config, machineType } = record;
    if (!process) {
      const end = endOf({
        events: folder.journal(),
        stderr: folder.stderr(),
        stopRequested: record.stopRequested,
        incoming: record.how === "incoming",
      });
      return { id: config.id, pid: record.process?.pid ?? 0, state: "ended", machineType, end };
    }
    const status = await this.#with(config.id, runState).catch(() => undefined);
    return { id: config.id, pid: process.pid, state: stateOf(status, record.how), machineType };
  }

  /** One monitor connection a machine, made when it is needed. */
  #monitor(id: MachineId): Promise<Qmp> {
    const kept = this.#monitors.get(id);
    if (kept) return kept;
    const made = Qmp.connect(this.#need(id).folder.files.qmp).then((qmp) => {
      qmp.onEvent(() => this.#nudge(id));
      qmp.onClose(() => {
        this.#drop(id);
        this.#nudge(id);
      });
      return qmp;
    });
    this.#monitors.set(id, made);
    made.catch(() => this.#monitors.delete(id));
    return made;
  }

  async #awaitMonitor(id: MachineId, process: ProcessIdentity): Promise<Qmp> {
    const deadline = performance.now() + START_MS;
    for (;;) {
      try {
        return await this.#monitor(id);
      } catch (error) {
        if (!isSame(process) || performance.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  async #with<T>(id: MachineId, work: (qmp: Qmp) => Promise<T>): Promise<T> {
    try {
      return await work(await this.#monitor(id));
    } catch (error) {
      if (error instanceof QmpError) throw new HypervisorError(error.message, { cause: error });
      throw error;
    }
  }

  #drop(id: MachineId): void {
    void this.#monitors.get(id)?.then(
      (qmp) => qmp.close(),
      () => {},
    );
    this.#monitors.delete(id);
  }

  #nudge(id: MachineId): void {
    for (const listener of this.#listeners) listener(id);
  }

  /** The newest versioned q35 of this QEMU: an alias would mean another machine after an upgrade. */
  #machineType(): Promise<string> {
    this.#newestMachineType ??= promisify(execFile)(this.#binary, ["-machine", "help"]).then(({ stdout }) => {
      const type = /alias of (pc-q35-[\d.]+)/.exec(stdout)?.[1];
      if (!type) throw new HypervisorError(`${this.#binary} has no q35 machine`);
      return type;
    });
    return this.#newestMachineType;
  }
}

/** QEMU's lines begin with a time stamp and its own name, which tell users nothing. */
const withoutPrefixes = (stderr: string) =>
  stderr
    .split("\n")
    .map((line) => line.replace(/^\S+Z /, "").replace(/^qemu-system-\S+: /, ""))
    .filter(Boolean)
    .join("; ");

const describe = (error: unknown) => (error instanceof Error ? error.message : String(error));

async function runState(qmp: Qmp): Promise<string> {
  const answer = await qmp.execute("query-status");
  return isFields(answer) ? String(answer.status) : "";
}

/** QEMU's run states -> ours. A monitor that does not answer is no sign of death: the process is there, so it counts as running. */
function stateOf(status: string | undefined, how: "run" | "incoming"): MachineState["state"] {
  switch (status) {
    case "inmigrate":
      return "incoming";
    case "prelaunch":
      return how === "incoming" ? "incoming" : "paused";
    case "paused":
    case "io-error":
    case "guest-panicked":
      return "paused";
    case "postmigrate":
      return "postmigrate";
    default:
      return "running";
  }
}

function progressOf({ status, ...rest }: MigrationStatus): MigrationProgress {
  const phases: Record<string, MigrationProgress["phase"]> = {
    none: "none",
    "pre-switchover": "pre-switchover",
    completed: "completed",
    failed: "failed",
    cancelled: "cancelled",
    cancelling: "cancelled",
  };
  return { ...rest, phase: phases[status] ?? "active" };
}
