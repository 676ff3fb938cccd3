/** What there is to tell of a machine: QEMU's own word while its process is there, then its journal, its exit status and the kernel's. */
import { endOf } from "../../qemu/end.ts";
import { lastOf, wasFull } from "../../qemu/standing.ts";
import { bootId } from "../../system/boot-id.ts";
import { isSame } from "../../system/process.ts";
import type { MachineEnd, MachineId, MachineState } from "../hypervisor.ts";
import { killedForMemory } from "./oom.ts";
import type { MachineRecord } from "./qemu-record.ts";
import type { Found } from "./qemu-records.ts";
import { standsBecause, stateOf } from "./qemu-state.ts";

export interface Witnesses {
  /** QEMU's run state; undefined when it does not answer. */
  runState(id: MachineId): Promise<string | undefined>;
  /** Whether the rest of a target's memory will never come. */
  isLost(id: MachineId): Promise<boolean>;
  /** Resolves once the exit status of a process of our own is on disk. */
  exited(id: MachineId): Promise<void>;
  /** How many processes of the folder of this name the kernel has killed for want of memory; undefined when that is not known. */
  oomKills(name: string): number | undefined;
}

export async function machineState(found: Found, ask: Witnesses): Promise<MachineState> {
  const { record, process } = found;
  const running = process && (await runningState(found, process, ask));
  if (running) return running;
  await ask.exited(record.config.id);
  // Read again: a stop may have been asked for while we waited.
  const now = found.folder.read() ?? record;
  return {
    ...descriptionOf(record),
    pid: record.process?.pid ?? 0,
    state: "ended",
    ...(now.held === "suspend" ? { pausedBy: "suspend" } : {}),
    end: endOfRun(found, now, ask),
  };
}

/** @returns undefined when its process has gone meanwhile */
async function runningState(
  { folder, record }: Found,
  process: NonNullable<Found["process"]>,
  ask: Witnesses,
): Promise<MachineState | undefined> {
  const { id, hardware } = record.config;
  const told = { ...descriptionOf(record), pid: process.pid };
  const status = await ask.runState(id);
  if (record.postCopy && status === "running" && (await ask.isLost(id)))
    return { ...told, state: "paused", pausedBy: "lost" };
  const state = stateOf(status, record.how, record.held);
  const broke = status === "paused" ? record.broke : undefined;
  const by = broke?.by ?? standsBecause(status, record, () => wasFull(folder.journal()));
  // The journal is read of those alone that it may say something of.
  const mayTell = hardware?.watchdog === "Reset" || status === "guest-panicked" || status === "watchdog";
  const event = status === "guest-panicked" ? "GUEST_PANICKED" : "WATCHDOG";
  const brokeDownMs = broke?.atMs ?? (mayTell ? lastOf(folder.journal(), event) : undefined);
  if (!isSame(process)) return undefined;
  return {
    ...told,
    state,
    ...((state === "paused" || record.held === "suspend") && by ? { pausedBy: by } : {}),
    ...(record.paused ? { paused: true } : {}),
    ...(brokeDownMs === undefined ? {} : { brokeDownMs }),
    ...(record.disconnected ? { disconnected: true } : {}),
  };
}

const descriptionOf = ({ config, machineType, place }: MachineRecord) => ({
  id: config.id,
  machineType,
  accelerator: config.accelerator,
  ...(config.guestCpu ? { guestCpu: config.guestCpu } : {}),
  ...(place ? { place } : {}),
});

/** @param now the record, once its exit status is on disk */
function endOfRun(
  { folder, record }: Found,
  { stopRequested, end: told }: MachineRecord,
  ask: Pick<Witnesses, "oomKills">,
): MachineEnd {
  if (stopRequested && told) return told;
  const exit = folder.readExit();
  return endOf({
    journal: folder.journal(),
    stderr: folder.stderr(),
    ...(exit ? { exit } : {}),
    stopRequested,
    incoming: record.how === "incoming",
    rebooted: record.bootId !== undefined && record.bootId !== bootId(),
    outOfMemory: () => record.process && killedForMemory(record.process, ask.oomKills(folder.name)),
  });
}
