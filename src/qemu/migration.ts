/**
 * Live migration over shared storage, as verified on QEMU 7.2. The source stops before the switchover (pause-before-switchover), so
 * that whoever decides can check again; the target takes the disks' locks only at `cont` (late-block-activate). "completed" at the source means that the
 * target has loaded it all and has said so (return-path). Everything acts on MIGRATION events, because polling would lengthen the outage.
 *
 *   source   none -> setup -> active -> pre-switchover -> device -> completed      failed, cancelled: the guest runs on here
 *   target   none -> setup -> active ----------------------------> completed, paused until `cont`
 *
 * With post-copy the target may run before all is there (both have the capability from the start):
 *
 *   source   … active -> (startPostCopy) pre-switchover -> postcopy-active -> completed
 *   target   … active -> postcopy-active, paused until `cont`, gets the rest as it needs it -> completed
 *
 * QEMU keeps the status of the last migration for ever: in one that was a target, and also when the guest runs on here after a
 * "completed" that nobody took over. Only a guest that stands still has really been sent: queryMigration says "none" for the rest.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isFields, type Qmp, QmpError, type QmpEvent } from "./qmp.ts";
import { confirmedBytes, parseTcp } from "./sockets.ts";
import { clientTls, serverTls, type Tls } from "./tls.ts";

export interface MigrationStatus {
  /** none, setup, active, pre-switchover, device, postcopy-active, postcopy-paused, completed, failed, cancelling, cancelled. */
  status: string;
  transferredBytes: number;
  remainingBytes: number;
  totalMs: number;
  downtimeMs: number;
  /** What the guest makes anew of what had been sent, as of QEMU's last look at the dirty pages; 0 before. */
  dirtyBytesPerSecond: number;
  error?: string;
}

/**
 * An agent that died in the middle of keeping a memory has left the first two on (memory.ts); with x-ignore-shared no memory would be sent. postcopy-ram: an earlier
 * migration may have.
 */
const capabilities = (names: readonly string[], postCopy = false) => ({
  capabilities: [
    { capability: "background-snapshot", state: false },
    { capability: "x-ignore-shared", state: false },
    { capability: "postcopy-ram", state: postCopy },
    ...names.map((capability) => ({ capability, state: true })),
  ],
});

/**
 * Target: opens the listener; QEMU picks the port. @returns "tcp:IP:PORT", the same when called again
 * @throws QmpError, with postCopy also where the kernel does not let QEMU wait for memory (userfaultfd)
 */
export async function listenIncoming(
  qmp: Qmp,
  address: string,
  tls: Tls | undefined,
  postCopy = false,
): Promise<string> {
  const open = await listeningAt(qmp);
  if (open) return open;
  await qmp.execute("migrate-set-capabilities", capabilities(["events", "late-block-activate"], postCopy));
  if (tls) await qmp.execute("migrate-set-parameters", await serverTls(qmp, tls));
  await qmp.execute("migrate-incoming", { uri: `tcp:${address.includes(":") ? `[${address}]` : address}:0` });
  const at = await listeningAt(qmp);
  if (!at) throw new QmpError("GenericError", "QEMU does not tell where it listens for the migration");
  return at;
}

async function listeningAt(qmp: Qmp): Promise<string | undefined> {
  const answer = await qmp.execute("query-migrate");
  const [socket] =
    isFields(answer) && Array.isArray(answer["socket-address"]) ? answer["socket-address"] : [];
  if (!isFields(socket)) return undefined;
  const host = String(socket.host);
  return `tcp:${host.includes(":") ? `[${host}]` : host}:${String(socket.port)}`;
}

/**
 * The outage QEMU may aim at, by passes over the memory: 30 ms, so that players of a game do not notice; a guest that
 * writes faster than the network sends gets more, step by step up to 2 s, because else its migration would never end.
 */
export function downtimeLimitMs(passes: number, maxMs = 2000): number {
  return Math.min(maxMs, 30 * 2 ** Math.max(0, Math.floor((passes - 6) / 3)));
}

/** Source: follows the passes of a running migration (see downtimeLimitMs); for as long as the connection lives. */
export function easeDowntimeLimit(qmp: Qmp, maxMs: () => number | undefined): void {
  qmp.onEvent(({ event, data }) => {
    if (event !== "MIGRATION_PASS") return;
    const passes = Number(data.pass);
    const limit = downtimeLimitMs(passes, maxMs());
    if (limit === downtimeLimitMs(passes - 1, maxMs())) return;
    qmp.execute("migrate-set-parameters", { "downtime-limit": limit }).catch(() => undefined); // over meanwhile
  });
}

/** Source: goes on from pre-switchover as soon as QEMU is there, when that is wanted; for as long as the connection lives. */
export function switchOverAtOnce(qmp: Qmp, pid: number, isWanted: () => boolean): void {
  qmp.onEvent((event) => {
    if (!isIn(["pre-switchover"])(event) || !isWanted()) return;
    const ended = qmp.waitFor(isIn(SWITCHED), SWITCHOVER_MS);
    qmp
      .execute("migrate-continue", { state: "pre-switchover" })
      .then(() => seeThrough(qmp, pid, ended))
      .catch(() => undefined); // called off meanwhile
  });
}

export interface Outgoing {
  uri: string;
  tls?: Tls;
  /** The name in the target's certificate; the address of `uri` when absent. */
  hostname?: string;
  /** Bytes per second; practically unlimited when absent (QEMU's own default, 128 MiB/s, is low). */
  bandwidth?: number;
  /** No memory goes until sendAtLast. */
  heldBack?: boolean;
  /** What the guest writes meanwhile is sent once it stands still, in no further pass before that (see dirty-tracking.ts). */
  onePass?: boolean;
  maxDowntimeMs?: number;
  /** The target was told to expect it: startPostCopy may follow. */
  postCopy?: boolean;
}

const UNLIMITED = 8 * 2 ** 30;
/**
 * Bytes per second at which QEMU sends no memory at all. It counts by tenths of a second, begins each by the head of a section (5 bytes) and looks before each page
 * whether more than its share has gone (ram_save_iterate, qemu_file_rate_limit).
 */
const NOTHING = 10;

/** Source: whether its machine is being sent, or has been. */
export async function isUnderWay(qmp: Qmp): Promise<boolean> {
  return !["none", "failed", "cancelled"].includes((await queryMigration(qmp)).status);
}

/**
 * Source: starts sending. No-op while one is under way or has been sent.
 * @throws Error for an address that is not tcp:IP:PORT
 */
export async function startOutgoing(qmp: Qmp, to: Outgoing): Promise<void> {
  // For QEMU exec:, fd: and unix: are addresses, too, and this one comes from another host.
  if (!parseTcp(to.uri)) throw new Error(`${to.uri} is not an address to migrate to`);
  if (await isUnderWay(qmp)) return;
  brokenOff.delete(qmp);
  await qmp.execute(
    "migrate-set-capabilities",
    capabilities(["events", "pause-before-switchover", "auto-converge", "return-path"], to.postCopy),
  );
  await qmp.execute("migrate-set-parameters", {
    "downtime-limit": to.onePass ? 0 : downtimeLimitMs(0, to.maxDowntimeMs),
    "max-bandwidth": to.heldBack ? NOTHING : (to.bandwidth ?? UNLIMITED),
    // What the guest waits for is sent all the same.
    "max-postcopy-bandwidth": to.bandwidth ?? 0,
    // Empty strings reset what an earlier attempt has set.
    "tls-creds": to.tls ? await clientTls(qmp, to.tls) : "",
    "tls-hostname": to.tls ? (to.hostname ?? "") : "",
  });
  await qmp.execute("migrate", { uri: to.uri });
}

/** Source: whether an outgoing migration still waits for sendAtLast. @throws QmpError when memory has gone all the same */
export async function isHeldBack(qmp: Qmp): Promise<boolean> {
  const [parameters, migration] = await Promise.all([
    qmp.execute("query-migrate-parameters"),
    qmp.execute("query-migrate"),
  ]);
  if (!isFields(parameters) || parameters["max-bandwidth"] !== NOTHING) return false;
  const ram = isFields(migration) && isFields(migration.ram) ? migration.ram : {};
  if (Number(ram.normal ?? 0) + Number(ram.duplicate ?? 0) > 0)
    throw new QmpError("GenericError", "QEMU sent memory before it was told to");
  return true;
}

/** Source: memory goes from now on. @param bandwidth as Outgoing's */
export async function sendAtLast(qmp: Qmp, bandwidth = UNLIMITED): Promise<void> {
  await qmp.execute("migrate-set-parameters", { "max-bandwidth": bandwidth });
}

/**
 * Source: resolves once the target is connected and memory goes there. One that does not connect in time is given up.
 * @throws QmpError with the reason when it came to nothing
 */
export async function outgoingBegun(qmp: Qmp, timeoutMs: number): Promise<void> {
  const over = (status: unknown) => status !== "setup" && status !== "none";
  const begun = qmp.waitFor(({ event, data }) => event === "MIGRATION" && over(data.status), timeoutMs);
  // Before we listened, perhaps.
  if (!over((await queryMigration(qmp)).status) && !(await begun)) await cancelOutgoing(qmp);
  const { status, error } = await queryMigration(qmp);
  if (status === "failed" || status === "cancelled")
    throw new QmpError("GenericError", error ?? `the target did not answer within ${timeoutMs / 1000} s`);
}

/** Source: the machine is to go on at the target before all is there, after a switchover as any. No-op when it is too late for that. */
export async function startPostCopy(qmp: Qmp): Promise<void> {
  await qmp.execute("migrate-start-postcopy").catch((error: unknown) => {
    if (!(error instanceof QmpError && error.errorClass === "GenericError")) throw error; // over meanwhile
  });
}

/** query-status: running, paused, inmigrate, finish-migrate, postmigrate, prelaunch, io-error, … */
export async function runState(qmp: Qmp, timeoutMs?: number): Promise<string> {
  const answer = await qmp.execute("query-status", undefined, timeoutMs);
  return isFields(answer) ? String(answer.status) : "";
}

/** The states of a guest whose memory has been sent and that has not been revived since. */
const SENT = ["postmigrate", "finish-migrate"];

export async function queryMigration(qmp: Qmp): Promise<MigrationStatus> {
  // The order counts: a guest that stands still when it is asked second has been sent when it is "completed".
  const [answer, state] = await Promise.all([qmp.execute("query-migrate"), runState(qmp)]);
  const fields = isFields(answer) ? answer : {};
  const ram = isFields(fields.ram) ? fields.ram : {};
  let status = typeof fields.status === "string" ? fields.status : "none";
  if (status === "completed" && !SENT.includes(state)) status = "none";
  const error = status === "failed" && brokenOff.has(qmp) ? STALLED : fields["error-desc"];
  return {
    status,
    transferredBytes: Number(ram.transferred ?? 0),
    remainingBytes: Number(ram.remaining ?? 0),
    totalMs: Number(fields["total-time"] ?? 0),
    downtimeMs: Number(fields.downtime ?? 0),
    dirtyBytesPerSecond: Number(ram["dirty-pages-rate"] ?? 0) * Number(ram["page-size"] ?? 0),
    ...(typeof error === "string" ? { error } : {}),
  };
}

const FINAL = ["completed", "failed", "cancelled"];
/** The target may run. */
const SWITCHED = [...FINAL, "postcopy-active"];
const isIn = (states: readonly string[]) => (event: QmpEvent) =>
  event.event === "MIGRATION" && states.includes(String(event.data.status));

/** How long a guest that stands still waits for a target to which nothing gets any more, before it goes on here. */
export const STALLED_MS = 10_000;
export const STALLED = `nothing could be sent for ${STALLED_MS} ms, while the guest stood still`;
/** More than any takes. */
const SWITCHOVER_MS = 86_400_000;
const LOOK_MS = 1000;
/** Monitors of those whose last migration was ended because nothing got on: QEMU only sees that its connection broke. */
const brokenOff = new WeakSet<Qmp>();

/**
 * Source: waits for the end of a switchover, however long it takes, and breaks it off when nothing gets on. While QEMU sends the last of the memory it
 * answers no question: so the kernel is asked, and `yank` goes out of band.
 */
async function seeThrough(qmp: Qmp, pid: number, ended: Promise<unknown>): Promise<void> {
  const over = ended.then(() => true);
  let [confirmed, at] = [-1, performance.now()];
  while (!(await Promise.race([over, sleep(LOOK_MS, false, { ref: false })]))) {
    // A kernel that cannot be asked counts as one that says: nothing.
    const now = await confirmedBytes(pid).catch(() => confirmed);
    if (now !== confirmed) [confirmed, at] = [now, performance.now()];
    else if (performance.now() - at >= STALLED_MS) {
      brokenOff.add(qmp);
      const broken = qmp.waitFor(isIn(FINAL), STALLED_MS);
      await qmp.executeOutOfBand("yank", { instances: [{ type: "migration" }] });
      await broken;
      return;
    }
  }
}

/**
 * Source, in pre-switchover: hands over, and resolves when it has completed or failed (then the guest runs on here). A target that takes nothing of
 * the rest for STALLED_MS is given up. @param pid of this QEMU
 * @throws QmpError when the migration has not come as far as that
 */
export async function continueSwitchover(qmp: Qmp, pid: number): Promise<MigrationStatus> {
  const ended = qmp.waitFor(isIn(SWITCHED), SWITCHOVER_MS); // before the question: an event may come right behind its answer
  const before = await queryMigration(qmp);
  if (SWITCHED.includes(before.status)) return before;
  if (before.status === "pre-switchover")
    await qmp.execute("migrate-continue", { state: "pre-switchover" }).catch(async (error: unknown) => {
      if ((await queryMigration(qmp)).status === "pre-switchover") throw error; // not gone on by itself meanwhile
    });
  else if (before.status !== "device")
    throw new QmpError(
      "GenericError",
      `the migration cannot switch over yet: it is ${before.status === "none" ? "not begun" : before.status}`,
    );
  await seeThrough(qmp, pid, ended);
  // The event comes a moment before the guest's state changes, and for that there is none.
  for (let i = 0; ; i++) {
    const [after, state] = await Promise.all([queryMigration(qmp), runState(qmp)]);
    if (after.status === "postcopy-active" || state !== "finish-migrate" || i === 500) return after;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Source: calls it off, and resolves when that is done; the guest runs on. No-op when there is none or it has completed. */
export async function cancelOutgoing(qmp: Qmp, timeoutMs = 10_000): Promise<void> {
  const ended = qmp.waitFor(isIn(FINAL), timeoutMs);
  const { status } = await queryMigration(qmp);
  if (status === "none" || SWITCHED.includes(status)) return;
  await qmp.execute("migrate_cancel");
  if (!(await ended) && !FINAL.includes((await queryMigration(qmp)).status))
    throw new QmpError("Timeout", `the migration could not be called off within ${timeoutMs / 1000} s`);
}
