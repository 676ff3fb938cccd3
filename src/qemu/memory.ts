/**
 * A guest's memory in a file: written at the very instant at which its disks are switched to new layers, and taken up again by another QEMU of
 * the same devices. QEMU sees a migration to or from a unix socket; what comes through it is the other end's to keep.
 *
 * Where the kernel lets QEMU write-protect memory (userfaultfd; capability background-snapshot), the guest stands still for the switch alone, and runs on
 * while its memory is written as it was then. Elsewhere it stands still until all is written. Or, for clones, it is copied apart while the guest stands
 * still (capability x-ignore-shared): another QEMU has it as fast as it can be copied, and takes up a state of a few hundred kilobytes.
 */

import { runState } from "./migration.ts";
import { isFields, type Qmp, QmpError, type QmpEvent } from "./qmp.ts";
import { overlayActions, type Switch } from "./snapshot.ts";

export interface Saved {
  /** How long the guest stood still. */
  pauseMs: number;
  /** Whether it ran while its memory was written. */
  live: boolean;
}

/** Memory of any size, to a slow disk: a day. */
const SAVE_MS = 86_400_000;
const RESUME_MS = 60_000;
/** From the end of what is fed to a QEMU to its word on it. */
const FED_MS = 10_000;
const MAX_BANDWIDTH = 2 ** 40;

/** What earlier migrations of this guest may have left on, and does not go with it. */
const OTHERS = [
  "pause-before-switchover",
  "auto-converge",
  "late-block-activate",
  "return-path",
  "postcopy-ram",
  "dirty-bitmaps",
];

/** How a memory gets to a file: in one stream, while the guest runs or stands still; or apart from the state of the devices, which the stream alone is. */
type Way = "live" | "still" | "apart";

/** @returns the way that this QEMU has; another than asked for only when that one cannot be */
async function setWay(qmp: Qmp, way: Way): Promise<Way> {
  const off = OTHERS.map((capability) => ({ capability, state: false }));
  try {
    await qmp.execute("migrate-set-capabilities", {
      capabilities: [
        { capability: "events", state: true },
        ...off,
        { capability: "background-snapshot", state: way === "live" },
        { capability: "x-ignore-shared", state: way === "apart" },
      ],
    });
    return way;
  } catch (error) {
    if (!(error instanceof QmpError && error.errorClass === "GenericError") || way === "still") throw error;
    return setWay(qmp, "still");
  }
}

/** Bytes of memory that the guest has, with what came while it ran. @throws QmpError */
export async function memoryBytes(qmp: Qmp): Promise<number> {
  const answer = await qmp.execute("query-memory-size-summary");
  const { "base-memory": base, "plugged-memory": plugged } = isFields(answer) ? answer : {};
  return Number(base) + Number(plugged ?? 0);
}

const isOver = ({ event, data }: QmpEvent) =>
  event === "MIGRATION" && ["completed", "failed", "cancelled"].includes(String(data.status));

export interface SaveOptions {
  after?: "runs" | "stands still";
  /** Copies the guest's memory, which stands still meanwhile: then only the state of the devices is sent. Not called when QEMU cannot do that. */
  copyApart?: () => Promise<void>;
}

/**
 * Switches the disks and sends the memory of that instant to the unix socket `path`, where somebody listens; resolves when all is sent. The
 * guest runs on in any case, unless it is to stand still. @throws QmpError when the memory was not sent; the disks may have been switched then
 */
export async function saveMemory(
  qmp: Qmp,
  switches: readonly Switch[],
  path: string,
  { after = "runs", copyApart }: SaveOptions = {},
): Promise<Saved> {
  const actions = await overlayActions(qmp, switches);
  const way = await setWay(qmp, copyApart ? "apart" : after === "runs" ? "live" : "still");
  await qmp.execute("migrate-set-parameters", {
    "max-bandwidth": MAX_BANDWIDTH,
    "tls-creds": "",
    "tls-hostname": "",
  });
  const over = qmp.waitFor(isOver, SAVE_MS);
  const resumed = qmp.waitFor(({ event }) => event === "RESUME", RESUME_MS);
  const began = performance.now();
  let pauseMs = 0;
  try {
    await qmp.execute("stop");
    if (actions.length > 0) await qmp.execute("transaction", { actions }, RESUME_MS);
    await qmp.execute("migrate", { uri: `unix:${path}` });
    if (way === "live") {
      await Promise.race([resumed, over]);
      pauseMs = performance.now() - began;
    }
    await over;
    const answer = await qmp.execute("query-migrate");
    const { status, "error-desc": why } = isFields(answer) ? answer : {};
    if (status !== "completed")
      throw new QmpError("GenericError", `its memory could not be written: ${why ?? status}`);
    if (way === "apart") await copyApart?.();
  } finally {
    if (!qmp.closed) {
      if (after === "runs") await goOn(qmp);
      if (pauseMs === 0) pauseMs = performance.now() - began;
      await setWay(qmp, "still");
    }
  }
  return { pauseMs, live: way === "live" };
}

/**
 * Calls off what is under way, and lets the guest go on unless it is to stand still. What is sent of a guest that runs is taken to its end instead, by whoever takes it:
 * called off, QEMU (7.2) would leave its memory write-protected, and the guest would stand still at its next write for ever.
 */
export async function abandonMemory(qmp: Qmp, then: "runs" | "stands still" = "runs"): Promise<void> {
  const over = qmp.waitFor(isOver, SAVE_MS);
  if (await isUnderWay(qmp)) {
    if (!(await isLive(qmp))) await qmp.execute("migrate_cancel");
    await over;
  }
  if (then === "runs") await goOn(qmp);
  await setWay(qmp, "still");
}

/**
 * Whether the memory of a guest that runs is being written: it hears what it is told, and nobody has to wait for that. Waits for the end of the instant at which it stands
 * still for it. @throws QmpError
 */
export async function isWrittenLive(qmp: Qmp): Promise<boolean> {
  const runs = qmp.waitFor((event) => event.event === "RESUME" || isOver(event), RESUME_MS);
  if (!(await isUnderWay(qmp)) || !(await isLive(qmp))) return false;
  if ((await runState(qmp)) === "paused") await runs;
  return true;
}

async function isUnderWay(qmp: Qmp): Promise<boolean> {
  const answer = await qmp.execute("query-migrate");
  return isFields(answer) && ["setup", "active", "device"].includes(String(answer.status));
}

async function isLive(qmp: Qmp): Promise<boolean> {
  const all = await qmp.execute("query-migrate-capabilities");
  return (Array.isArray(all) ? all : []).some(
    (each) => isFields(each) && each.capability === "background-snapshot" && each.state === true,
  );
}

async function goOn(qmp: Qmp): Promise<void> {
  if (["paused", "postmigrate"].includes(await runState(qmp))) await qmp.execute("cont");
}

const after = (ms: number): Promise<undefined> =>
  new Promise((resolve) => setTimeout(resolve, ms, undefined).unref());

/**
 * In a QEMU that waits for it (-incoming defer): takes what `feed` sends to the unix socket at `path`. `apart`: the memory is there already. The guest
 * does not run yet. No-op when it has it. @throws QmpError; QEMU may be gone then
 */
export async function loadMemory(
  qmp: Qmp,
  path: string,
  feed: () => Promise<void>,
  apart = false,
): Promise<void> {
  if ((await runState(qmp)) !== "inmigrate") return;
  const way = await setWay(qmp, apart ? "apart" : "still");
  if (apart && way !== "apart")
    throw new QmpError("GenericError", "this QEMU cannot take a memory that is kept apart (x-ignore-shared)");
  // Its cards do not announce themselves in their own time, which would keep `announce-self` from being heard for a second.
  await qmp.execute("migrate-set-parameters", { "announce-rounds": 0 });
  const over = qmp.waitFor(isOver, SAVE_MS);
  await qmp.execute("migrate-incoming", { uri: `unix:${path}` });
  // QEMU closes the connection as soon as it has all, which may look like a failure on our side: what it says counts.
  const cause: unknown = await feed().then(
    () => undefined,
    (error: unknown) => error,
  );
  const event = await (cause === undefined ? over : Promise.race([over, after(FED_MS)]));
  if (event?.data.status !== "completed")
    throw new QmpError("GenericError", "the saved memory could not be taken up", { cause });
  await setWay(qmp, "still");
}
