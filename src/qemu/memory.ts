/**
 * A guest's memory in a file: written at the very instant at which its disks are switched to new layers, and taken up again by another QEMU of
 * the same devices. QEMU sees a migration to or from a unix socket; what comes through it is the other end's to keep.
 *
 * Where the kernel lets QEMU write-protect memory (userfaultfd; capability background-snapshot), the guest stands still for the switch alone, and runs on
 * while its memory is written as it was then. Elsewhere it stands still until all is written.
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
const OTHERS = ["pause-before-switchover", "auto-converge", "late-block-activate", "return-path"];

/** @returns whether the guest can run while its memory is written */
async function setLive(qmp: Qmp, state: boolean): Promise<boolean> {
  const off = OTHERS.map((capability) => ({ capability, state: false }));
  try {
    await qmp.execute("migrate-set-capabilities", {
      capabilities: [
        { capability: "events", state: true },
        ...off,
        { capability: "background-snapshot", state },
      ],
    });
    return state;
  } catch (error) {
    if (!(error instanceof QmpError && error.errorClass === "GenericError") || !state) throw error;
    return setLive(qmp, false);
  }
}

const isOver = ({ event, data }: QmpEvent) =>
  event === "MIGRATION" && ["completed", "failed", "cancelled"].includes(String(data.status));

/**
 * Switches the disks and sends the memory of that instant to the unix socket `path`, where somebody listens; resolves when all is sent. The
 * guest runs on in any case, unless it is to stand still. @throws QmpError when the memory was not sent; the disks may have been switched then
 */
export async function saveMemory(
  qmp: Qmp,
  switches: readonly Switch[],
  path: string,
  then: "runs" | "stands still" = "runs",
): Promise<Saved> {
  const actions = await overlayActions(qmp, switches);
  const live = await setLive(qmp, then === "runs");
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
    if (live) {
      await Promise.race([resumed, over]);
      pauseMs = performance.now() - began;
    }
    await over;
    const answer = await qmp.execute("query-migrate");
    const { status, "error-desc": why } = isFields(answer) ? answer : {};
    if (status !== "completed")
      throw new QmpError("GenericError", `its memory could not be written: ${why ?? status}`);
  } finally {
    if (!qmp.closed) {
      if (then === "runs") await goOn(qmp);
      if (pauseMs === 0) pauseMs = performance.now() - began;
      await setLive(qmp, false);
    }
  }
  return { pauseMs, live };
}

/** Calls off what is under way, and lets the guest go on unless it is to stand still. */
export async function abandonMemory(qmp: Qmp, then: "runs" | "stands still" = "runs"): Promise<void> {
  const over = qmp.waitFor(isOver, RESUME_MS);
  const answer = await qmp.execute("query-migrate");
  if (isFields(answer) && ["setup", "active", "device"].includes(String(answer.status))) {
    await qmp.execute("migrate_cancel");
    await over;
  }
  if (then === "runs") await goOn(qmp);
  await setLive(qmp, false);
}

async function goOn(qmp: Qmp): Promise<void> {
  if (["paused", "postmigrate"].includes(await runState(qmp))) await qmp.execute("cont");
}

const after = (ms: number): Promise<undefined> =>
  new Promise((resolve) => setTimeout(resolve, ms, undefined).unref());

/**
 * In a QEMU that waits for it (-incoming defer): takes the memory that `feed` sends to the unix socket at `path`. The guest does not run yet. No-op
 * when it has it. @throws QmpError; QEMU may be gone then
 */
export async function loadMemory(qmp: Qmp, path: string, feed: () => Promise<void>): Promise<void> {
  if ((await runState(qmp)) !== "inmigrate") return;
  await setLive(qmp, false);
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
}
