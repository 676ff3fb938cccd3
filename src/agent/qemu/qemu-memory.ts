/** Keeping a guest's memory in files (memory-files.ts) and taking it up again: QEMU's part is in qemu/memory.ts. */
import { connectGuestAgent } from "../../qemu/guest-agent.ts";
import { loadMemory, saveMemory } from "../../qemu/memory.ts";
import { runState } from "../../qemu/migration.ts";
import type { ProcessIdentity } from "../../qemu/process.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import type { Logger } from "../../reconcile/log.ts";
import { HypervisorError, type LayerSwitch, type SavedMemory } from "../hypervisor.ts";
import {
  copyRam,
  keepRam,
  memoryOf,
  receiveFile,
  removeMemory,
  sendFile,
  syncRam,
  touchMemory,
} from "./memory-files.ts";
import type { MachineFolder, MachineRecord } from "./qemu-record.ts";

export interface Machine {
  folder: MachineFolder;
  record: MachineRecord;
  process: ProcessIdentity | undefined;
}

/** Huge pages cannot be written by us; what is shared with others is not its own. */
const ramFileOf = ({ process, record: { config, shared } }: Machine) =>
  process && !config.resources?.hugepages && !shared ? memoryOf(process.pid, config.memory) : undefined;

export interface How {
  held: "snapshot" | "suspend";
  after: "runs" | "stands still";
  /** The memory in a file of its own, where that can be. */
  apart: boolean;
}

/**
 * What stands still for it in the end, goes on by QemuHypervisor.abandonMemory. @throws QmpError; HypervisorError; Error. The layers may have been
 * switched then
 */
export async function keepMemory(
  qmp: Qmp,
  machine: Machine,
  switches: readonly LayerSwitch[],
  file: string,
  { held, after, apart }: How,
  log: Logger,
): Promise<SavedMemory> {
  const { folder, record } = machine;
  const status = await runState(qmp);
  if (status !== "running" && !(record.paused && ["paused", "prelaunch"].includes(status)))
    throw new HypervisorError(`${record.config.name}: its memory cannot be kept while it is ${status}`);
  const ram = ramFileOf(machine);
  // What an attempt that was cut short has left would be taken for the memory of this one.
  await removeMemory(file);
  let ramBytes = 0;
  const copyApart = async () => {
    if (!ram) return;
    ramBytes = await keepRam(ram, file).catch((cause: unknown) => {
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new HypervisorError(`${record.config.name}: its memory could not be copied: ${said}`, { cause });
    });
  };
  const { process } = machine;
  if (process && !apart && after === "runs")
    await touchMemory(process.pid).catch((error: unknown) => log.warn("memory.touch", { error }));
  const path = folder.lendSocket(record.config.user);
  const receiver = await receiveFile(path, file, record.config.user);
  try {
    folder.update((now) => ({ ...now, held }));
    const saved = await saveMemory(qmp, switches, path, { after, ...(ram && apart ? { copyApart } : {}) });
    return { ...saved, sizeBytes: ramBytes + (await receiver.done()) };
  } catch (cause) {
    // QEMU knows only that nobody took it.
    if (!receiver.isFull()) throw cause;
    const { name } = record.config;
    throw new HypervisorError(`${name}: there is no room for its memory in its storage pool`, { cause });
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
export async function takeMemory(
  qmp: Qmp,
  machine: Machine,
  file: string,
  shared: Promise<void> | undefined,
): Promise<void> {
  const { folder, record } = machine;
  if ((await runState(qmp)) !== "inmigrate") return;
  connectGuestAgent(folder.files.guestAgent);
  const take = async () => {
    if (!record.shared) return copyRam(file, () => ramFileOf(machine));
    await shared;
    folder.update((now) => ({ ...now, shared: "whole" }));
    return true;
  };
  const apart = await take().catch((cause: unknown) => {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new HypervisorError(`${record.config.name}: its saved memory cannot be had: ${said}`, { cause });
  });
  const path = folder.lendSocket(record.config.user);
  await loadMemory(qmp, path, () => sendFile(file, path), apart).finally(() => folder.takeSocketBack());
}
