/** A guest that is made to stand still and to go on, its reset button, and the dump of its memory, over QMP; and what its journal says of them. */
import type { Journal } from "./journal.ts";
import { runState } from "./migration.ts";
import { isFields, type Qmp, QmpError } from "./qmp.ts";

/** Run states from which a guest goes on by `cont`: it never ran, was stopped, or could not write. */
const CAN_GO_ON = ["prelaunch", "paused", "io-error"];

/** @throws QmpError */
export async function standStill(qmp: Qmp): Promise<void> {
  if ((await runState(qmp)) === "running") await qmp.execute("stop");
}

/** One that broke down (panic, watchdog) stays as it is. @throws QmpError */
export async function goOn(qmp: Qmp): Promise<void> {
  if (CAN_GO_ON.includes(await runState(qmp))) await qmp.execute("cont");
}

/**
 * Has a guest whose memory has arrived, or that was not sent after all, take its disks without running. QEMU does so at `cont` alone, or for an NBD server: one of
 * its own, which nobody reaches at `socket`, is told to show each disk for a moment. Without that, the next migration would abort it (seen with 7.2:
 * it cannot let go of disks that it has not taken). After a migration that failed at its very end there is only `cont`: the guest runs for an instant.
 * @throws QmpError
 */
export async function takeDisks(qmp: Qmp, socket: string): Promise<void> {
  if ((await runState(qmp)) === "postmigrate") {
    await qmp.execute("cont");
    await qmp.execute("stop");
    return;
  }
  const devices = await qmp.execute("query-block");
  const nodes = (Array.isArray(devices) ? devices : []).flatMap((device) =>
    isFields(device) && isFields(device.inserted) ? [String(device.inserted["node-name"])] : [],
  );
  await stopServer(qmp); // of one that was cut short
  await qmp.execute("nbd-server-start", { addr: { type: "unix", data: { path: socket } } });
  try {
    for (const node of nodes)
      await qmp.execute("block-export-add", { type: "nbd", id: `take-${node}`, "node-name": node });
  } finally {
    await stopServer(qmp); // its exports go with it
  }
}

async function stopServer(qmp: Qmp): Promise<void> {
  await qmp.execute("nbd-server-stop").catch((error: unknown) => {
    if (!(error instanceof QmpError && error.errorClass === "GenericError")) throw error; // there is none
  });
}

const RESET_MS = 10_000;

/** Resolves once it is done. One that stood still is left standing, at its beginning. @throws QmpError */
export async function pressReset(qmp: Qmp): Promise<void> {
  const done = qmp.waitFor(({ event, data }) => event === "RESET" && data.guest === false, RESET_MS);
  await qmp.execute("system_reset");
  if (!(await done)) throw new QmpError("Timeout", `the reset was not done within ${RESET_MS / 1000} s`);
}

/** Whether the reset button has been pressed since a moment. Pure. */
export const wasReset = ({ events }: Journal, sinceMs: number): boolean =>
  events.some(
    ({ event, data, timestampMs }) => event === "RESET" && data.guest === false && timestampMs >= sinceMs,
  );

/** Whether a guest that could not write stands still because there was no room. Pure. */
export const wasFull = ({ events }: Journal): boolean =>
  events.findLast(({ event, data }) => event === "BLOCK_IO_ERROR" && data.action === "stop")?.data.nospace ===
  true;

/** When the guest last panicked, or its watchdog acted; ms since the epoch. Pure. */
export function lastOf({ events }: Journal, which: "GUEST_PANICKED" | "WATCHDOG"): number | undefined {
  const found = events.findLast(({ event }) => event === which);
  return found && Math.floor(found.timestampMs);
}

/** Why a guest will not go on by itself, and since when; ms since the epoch. */
export interface Broke {
  by: "guest-panicked" | "watchdog";
  atMs: number;
}

const BREAKS: Readonly<Record<string, Broke["by"]>> = {
  GUEST_PANICKED: "guest-panicked",
  WATCHDOG: "watchdog",
};

/**
 * Whether a guest broke down last, and was to stand still for it. QEMU's run state does not tell that any more once it has stopped the guest for the switchover of a
 * migration: "finish-migrate", "postmigrate". Pure.
 */
export function brokeLast({ events }: Journal): Broke | undefined {
  const last = events.findLast(({ event }) => event in BREAKS || event === "RESUME" || event === "RESET");
  const by = last && BREAKS[last.event];
  return by && last.data.action === "pause" ? { by, atMs: Math.floor(last.timestampMs) } : undefined;
}

export type Dump = { state: "active" } | { state: "done" };

/**
 * Begins to write the guest's memory into the file, as an ELF core; or looks how far that is. QEMU keeps how the last one ended until the next begins, so `begun` says whether
 * that is this one. @throws QmpError when it failed
 */
export async function dumpMemory(qmp: Qmp, file: string, begun: boolean): Promise<Dump> {
  const answer = await qmp.execute("query-dump");
  const status = isFields(answer) ? String(answer.status) : "none";
  if (status === "active") return { state: "active" };
  if (begun && status === "completed") return { state: "done" };
  if (begun && status === "failed")
    throw new QmpError("GenericError", "its memory could not be written whole");
  await qmp.execute("dump-guest-memory", {
    paging: false,
    protocol: `file:${file}`,
    detach: true,
    format: "elf",
  });
  return { state: "active" };
}
