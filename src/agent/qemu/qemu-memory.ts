/**
 * Keeping a guest's memory in files (memory-files.ts) and taking it up again: QEMU's part is in qemu/memory.ts. How long a guest stands still for it is
 * in its record (record.held: written before it is stopped, gone once it runs again).
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { readableErrors } from "../../qemu/end.ts";
import { connectGuestAgent } from "../../qemu/guest-agent.ts";
import { abandonMemory, isWrittenLive, loadMemory, memoryBytes, saveMemory } from "../../qemu/memory.ts";
import { runState } from "../../qemu/migration.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import type { Logger } from "../../reconcile/log.ts";
import { roomIn } from "../../system/room.ts";
import {
  type HowToSave,
  HypervisorError,
  type LayerSwitch,
  type MachineId,
  type SavedMemory,
} from "../hypervisor.ts";
import {
  copyRam,
  keepRam,
  NO_SPACE,
  openMemory,
  receiveFile,
  removeMemory,
  sendFile,
  syncRam,
  touchMemory,
} from "./memory-files.ts";
import type { Access } from "./qemu-access.ts";
import type { Found } from "./qemu-records.ts";

export class MemoryKeeper {
  readonly #at: Access;
  readonly #log: Logger;

  constructor(at: Access, log: Logger) {
    this.#at = at;
    this.#log = log;
  }

  /** As Hypervisor.saveMemory. */
  async save(
    id: MachineId,
    switches: readonly LayerSwitch[],
    file: string,
    { apart = false }: HowToSave = {},
  ): Promise<SavedMemory> {
    const found = this.#at.records.need(id);
    const after = found.record.paused ? "stands still" : "runs";
    const how = { held: "snapshot", after, apart } as const;
    try {
      return await this.#at.with(id, (qmp) => keepMemory(qmp, found, switches, file, how, this.#log));
    } finally {
      await this.abandon(id);
    }
  }

  /** As Hypervisor.suspend. */
  async suspend(id: MachineId, file: string, { apart = false }: HowToSave = {}): Promise<SavedMemory> {
    const found = this.#at.records.need(id);
    const how = { held: "suspend", after: "stands still", apart } as const;
    try {
      return await this.#at.with(id, (qmp) => keepMemory(qmp, found, [], file, how, this.#log));
    } catch (error) {
      if (this.#at.records.find(id)?.process) await this.abandon(id);
      throw error;
    }
  }

  /** As Hypervisor.abandonMemory. */
  async abandon(id: MachineId): Promise<void> {
    const found = this.#at.records.need(id);
    const { folder, record } = found;
    if (record.held !== "snapshot" && record.held !== "suspend") return;
    await this.#at.with(id, async (qmp) => {
      await abandonMemory(qmp, record.paused ? "stands still" : "runs");
      if (record.paused && (await runState(qmp)) === "postmigrate") await this.#at.takeDisks(found, qmp);
    });
    folder.takeSocketBack();
    folder.update((now) => ({ ...now, held: undefined }));
  }

  /** Lets a guest that stands still for its memory go on; one that runs meanwhile is left so, and is as it was before once its memory is written. No-op for others. */
  async letRun(id: MachineId): Promise<void> {
    if (this.#at.records.need(id).record.held !== "snapshot") return;
    if (!(await this.#at.with(id, isWrittenLive))) await this.abandon(id);
  }

  /** As Hypervisor.loadMemory. @param shared resolves once the memory that it shares is whole */
  async load(id: MachineId, file: string, shared: Promise<string> | undefined): Promise<void> {
    const found = this.#at.records.need(id);
    await this.#at
      .with(id, (qmp) => takeMemory(qmp, found, file, shared))
      .catch((cause: unknown) => {
        // What it would not take, QEMU says there alone.
        const said = readableErrors(found.folder.stderr()).join("; ");
        if (!(cause instanceof HypervisorError) || !said) throw cause;
        throw new HypervisorError(`${cause.message}: ${said}`, { cause });
      });
  }
}

/** Huge pages cannot be written by us; what is shared with others is not its own. */
const openRam = ({ process, record: { config, shared } }: Found) =>
  process && !config.resources?.hugepages && !shared ? openMemory(process.pid, config.memory) : undefined;

/** While the guest runs on. @param mostBytes as much as its memory may take. @throws HypervisorError */
async function checkRoom(name: string, file: string, mostBytes: number): Promise<void> {
  const roomBytes = await roomIn(dirname(file));
  if (mostBytes <= roomBytes) return;
  const [needed, room] = [mostBytes, roomBytes].map((bytes) => Math.floor(bytes / 2 ** 20));
  throw new HypervisorError(
    `${name}: there is no room for its memory in its storage pool: it takes up to ${needed} MiB, and there is room for ${room} MiB; make some`,
  );
}

interface How {
  held: "snapshot" | "suspend";
  after: "runs" | "stands still";
  /** The memory in a file of its own, where that can be. */
  apart: boolean;
}

/**
 * What stands still for it in the end, goes on by MemoryKeeper.abandon. @throws QmpError; HypervisorError; Error. The layers may have been
 * switched then
 */
async function keepMemory(
  qmp: Qmp,
  machine: Found,
  switches: readonly LayerSwitch[],
  file: string,
  how: How,
  log: Logger,
): Promise<SavedMemory> {
  const { record } = machine;
  const status = await runState(qmp);
  if (status !== "running" && !(record.paused && ["paused", "prelaunch"].includes(status)))
    throw new HypervisorError(`${record.config.name}: its memory cannot be kept while it is ${status}`);
  const ram = openRam(machine);
  try {
    return await keepOpened(qmp, machine, ram?.path, switches, file, how, log);
  } finally {
    ram?.close();
  }
}

/** @param ram of its memory, when it can be copied */
async function keepOpened(
  qmp: Qmp,
  { folder, record, process }: Found,
  ram: string | undefined,
  switches: readonly LayerSwitch[],
  file: string,
  { held, after, apart }: How,
  log: Logger,
): Promise<SavedMemory> {
  // What an attempt that was cut short has left would be taken for the memory of this one.
  await removeMemory(file);
  await checkRoom(record.config.name, file, ram ? statSync(ram).blocks * 512 : await memoryBytes(qmp));
  const noRoom = `${record.config.name}: there is no room for its memory in its storage pool`;
  let ramBytes = 0;
  const copyApart = async () => {
    if (!ram) return;
    ramBytes = await keepRam(ram, file).catch((cause: unknown) => {
      const said = cause instanceof Error ? cause.message : String(cause);
      const why = said.endsWith(NO_SPACE)
        ? noRoom
        : `${record.config.name}: its memory could not be copied: ${said}`;
      throw new HypervisorError(why, { cause });
    });
  };
  if (process && !apart && after === "runs")
    await touchMemory(process.pid).catch((error: unknown) => log.warn("memory.touch", { error }));
  const path = folder.lendSocket(record.config.user, "client");
  const receiver = await receiveFile(path, file, record.config.user);
  try {
    folder.update((now) => ({ ...now, held }));
    const saved = await saveMemory(qmp, switches, path, { after, ...(ram && apart ? { copyApart } : {}) });
    return { ...saved, sizeBytes: ramBytes + (await receiver.done()) };
  } catch (cause) {
    // What is kept apart, without its state: nobody would look for it before another memory is kept there.
    await removeMemory(file);
    // QEMU knows only that nobody took it.
    if (!receiver.isFull()) throw cause;
    throw new HypervisorError(noRoom, { cause });
  } finally {
    receiver.close();
    folder.takeSocketBack();
    if (ramBytes > 0) void syncRam(file).catch((error: unknown) => log.warn("memory.sync", { file, error }));
  }
}

/**
 * No-op when it has it. @param shared resolves once the memory that it shares is whole
 * @throws QmpError; HypervisorError; QEMU may be gone then
 */
async function takeMemory(
  qmp: Qmp,
  machine: Found,
  file: string,
  shared: Promise<string> | undefined,
): Promise<void> {
  const { folder, record } = machine;
  if ((await runState(qmp)) !== "inmigrate") return;
  connectGuestAgent(folder.files.guestAgent);
  const take = async () => {
    if (!record.shared) {
      const ram = openRam(machine);
      return copyRam(file, ram?.path).finally(() => ram?.close());
    }
    // An agent died before QEMU was given the rest: which it is has been written down.
    if (record.shared !== "filling") return true;
    if (!shared) throw new Error("the agent that copied it for all who share it ended before that was whole");
    const mark = await shared;
    folder.update((now) => ({ ...now, shared: { mark } }));
    return true;
  };
  const apart = await take().catch((cause: unknown) => {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new HypervisorError(`${record.config.name}: its saved memory cannot be had: ${said}`, { cause });
  });
  const path = folder.lendSocket(record.config.user, "listener");
  await loadMemory(qmp, path, () => sendFile(file, path), apart).finally(() => folder.takeSocketBack());
}
