/**
 * A layer that nobody needs any more is taken out of a chain under a running guest, over QMP; verified on QEMU 7.2. Whichever way costs less:
 *
 *   up     below ◄─ from ◄─ into      block-stream: `into` has all of both, and stands on what `from` stood on
 *   down   below ◄─ from ◄─ into      block-commit: `from` has all of both, and takes the place of `into`
 *
 * Down, there is one instant from which only `from` is right: the guest's first write to it. So when both hold the same, QEMU holds the guest's writes
 * (the job is pending, its disk drained; virtual CPUs run on), `sure` writes down that `from` is the disk, and only then are they let into it. An agent that dies in
 * between leaves them held until the next one is there, which lets them go by what is written down (releaseHeld). Where the guest does not write to `into`, nothing is held.
 */
import { listNodes, type Node, pathOf } from "./block-nodes.ts";
import { sameDrive } from "./devices.ts";
import { isFields, type Qmp, QmpError } from "./qmp.ts";
import { activeLayers, formatNode } from "./snapshot.ts";

/** Jobs of mergeLayer, of which there is one at a time. */
const JOB = "absorb-";

export interface MergeSteps {
  /** Called before the copying begins, which it can prevent by throwing. @returns which way */
  way: (at: { isWritten: boolean; mayGoDown: boolean }) => Promise<"up" | "down">;
  /** Has on disk what the kernel has of a file. */
  flush: (path: string) => Promise<void>;
  /** Down: `from` has all, on disk, and from now on it alone is sure to. May be called again. */
  sure: () => Promise<void>;
  /** Down: QEMU goes on with `into` after all, whatever `sure` has written down, or part of it. */
  unsure: () => Promise<void>;
}

/** What little is left of it, to a slow disk. */
const FLUSH_MS = 60_000;

/** How long a layer may take to be copied into another: a day. */
const MERGE_MS = 86_400_000;

/** From being told to complete to that a job waits for us, or from our answer to its end: some milliseconds. */
const READY_MS = 1000;

/** Between two looks at a job; its events wake us earlier. */
const LOOK_MS = 200;

/**
 * Makes one of `into` and `from`, the layer right below it, while the guest runs; `into` may be any layer, also the one that is written to. Goes on with what is
 * under way. Afterwards all of it is on disk, and the other is not open any more. @returns which way; undefined when they are not open here. @throws QmpError
 */
export async function mergeLayer(
  qmp: Qmp,
  into: string,
  from: string,
  steps: MergeSteps,
): Promise<"up" | "down" | undefined> {
  const begun = await mergeJob(qmp);
  if (begun) {
    const way = begun.type === "commit" ? "down" : "up";
    await follow(qmp, String(begun.device), into, way, steps, async () => {});
    return finish(qmp, into, from, way, steps);
  }
  const known = await listNodes(qmp);
  const [top, bottom] = [formatNode(known, into), formatNode(known, from)];
  const active = await activeLayers(qmp);
  const isUsed = (path: string) => active.includes(path) || known.some(({ backing }) => backing === path);
  if (!isUsed(into)) {
    // Gone down before, but for the last steps; one that had no name in QEMU is closed.
    const isBelow = active.includes(from) || known.some((node) => node.backing === from && node !== top);
    return isBelow ? finish(qmp, into, from, "down", steps) : undefined;
  }
  if (!top) return undefined;
  if (!bottom || top.backing !== from) return finish(qmp, into, from, "up", steps);
  const isWritten = active.includes(into);
  // Dirty bitmaps would not go down.
  const way = await steps.way({ isWritten, mayGoDown: top.bitmaps.length === 0 });
  const device = driveOver(known, await drives(qmp), into);
  await settleDrive(qmp, device);
  const job = jobOf(top);
  const what = { "job-id": job, "auto-finalize": !(way === "down" && isWritten) };
  await follow(qmp, job, into, way, steps, async () => {
    if (way === "up") await qmp.execute("block-stream", { ...what, device: top.name, bottom: bottom.name });
    else {
      const nodes = { "top-node": top.name, "base-node": bottom.name };
      await qmp.execute("block-commit", { ...what, device: device.node, ...nodes });
    }
  });
  return finish(qmp, into, from, way, steps);
}

/** The job that is under way. */
export async function mergeJob(qmp: Qmp): Promise<Readonly<Record<string, unknown>> | undefined> {
  const jobs = await qmp.execute("query-block-jobs");
  return (Array.isArray(jobs) ? jobs : [])
    .filter(isFields)
    .find(({ device }) => String(device).startsWith(JOB));
}

const jobOf = ({ name }: Node): string => `${JOB}${name}`.replaceAll("#", "");

/**
 * Ends the wait of a guest whose writes an agent that died had held: it goes on with the layer below where that is sure, else with what it had. The rest of the merge is
 * left to mergeLayer. No-op when none waits. Nothing else may be asked of this QEMU meanwhile. @param isSure of the path of `into`; undefined when that cannot be known:
 * it waits on then. @throws QmpError
 */
export async function releaseHeld(
  qmp: Qmp,
  isSure: (into: string) => Promise<boolean | undefined>,
): Promise<void> {
  // It may have been told to complete, and be about to.
  const job = await lookWhile(qmp, ["ready", "waiting"], READY_MS);
  if (job?.status !== "pending") return;
  const id = String(job.device);
  const into = (await listNodes(qmp)).find((node) => jobOf(node) === id)?.file;
  const sure = into === undefined ? undefined : await isSure(into);
  if (sure === undefined) return;
  await unlessOver(
    sure ? qmp.execute("job-finalize", { id }) : qmp.execute("block-job-cancel", { device: id, force: true }),
  );
  await lookWhile(qmp, ["pending", "aborting", "concluded"], READY_MS);
}

/** The job, once it is in none of these states, or after that time. */
async function lookWhile(qmp: Qmp, states: readonly string[], ms: number): ReturnType<typeof mergeJob> {
  for (const until = performance.now() + ms; ; ) {
    const changed = qmp.waitFor(({ event }) => event === "JOB_STATUS_CHANGE", LOOK_MS);
    const job = await mergeJob(qmp);
    if (!states.includes(String(job?.status)) || performance.now() > until) return job;
    await changed;
  }
}

interface Drive {
  node: string;
  /** What it writes to. */
  file: string;
}

async function drives(qmp: Qmp): Promise<Drive[]> {
  const answer = await qmp.execute("query-block");
  return (Array.isArray(answer) ? answer : []).flatMap((device) =>
    isFields(device) && isFields(device.inserted) && typeof device.inserted.file === "string"
      ? [{ node: String(device.inserted["node-name"]), file: pathOf(device.inserted.file) }]
      : [],
  );
}

/** The one that has a layer in its chain. */
function driveOver(known: readonly Node[], all: readonly Drive[], layer: string): Drive {
  for (const drive of all) {
    const seen = new Set<string>();
    for (let at: string | undefined = drive.file; at && !seen.has(at); at = formatNode(known, at)?.backing) {
      if (at === layer) return drive;
      seen.add(at);
    }
  }
  throw new QmpError("GenericError", `no disk of it stands on ${layer}`);
}

/**
 * Reopens a drive as it is, which writes out what QEMU has of the layer below it, and tells whether it could. And where QEMU has reopened files of layers, for a job or
 * anything else, their descriptors are made anew now, while the guest's requests are held: 7.2 would do that at the next change of the graph, under them (devices.ts).
 * @throws QmpError
 */
async function settleDrive(qmp: Qmp, { node, file }: Drive): Promise<void> {
  const layer = formatNode(await listNodes(qmp), file);
  if (layer) await qmp.execute("blockdev-reopen", { options: [sameDrive(node, layer.name)] }, FLUSH_MS);
}

/** Until the job that `begin` begins is over, with what it waits for done. @throws QmpError; what `begin` and `sure` do */
async function follow(
  qmp: Qmp,
  job: string,
  into: string,
  way: "up" | "down",
  steps: MergeSteps,
  begin: () => Promise<void>,
): Promise<void> {
  const isOurs = ({ device, id }: Readonly<Record<string, unknown>>) => device === job || id === job;
  let said: string | undefined;
  const stop = qmp.onEvent(({ event, data }) => {
    if (isOurs(data) && event === "BLOCK_JOB_COMPLETED" && typeof data.error === "string") said = data.error;
  });
  try {
    await begin();
    for (const until = performance.now() + MERGE_MS; !qmp.closed && performance.now() < until; ) {
      const changed = qmp.waitFor(({ data }) => isOurs(data), LOOK_MS);
      const now = await mergeJob(qmp);
      if (!now) break;
      if (now.status === "ready") await unlessOver(qmp.execute("block-job-complete", { device: job }));
      if (now.status === "pending") await letGo(qmp, job, steps);
      await changed;
    }
  } finally {
    stop();
  }
  if (qmp.closed) throw new QmpError("Disconnected", "QEMU closed the monitor");
  if (!said) return;
  // Also when it could not be finalized.
  if ((await activeLayers(qmp)).includes(into)) await steps.unsure();
  const to = way === "up" ? "above" : "below";
  throw new QmpError("GenericError", `what it holds could not be merged into the layer ${to}: ${said}`);
}

/**
 * Both hold the same, and the guest's writes are held: it goes on with the lower one, or, where that could not be written down, with what it had. Where it is
 * not known which of them is written down, they are held until it is: what it wrote to the other would be lost with QEMU.
 */
async function letGo(qmp: Qmp, job: string, { sure, unsure }: MergeSteps): Promise<void> {
  try {
    await sure();
  } catch (error) {
    await unsure();
    await qmp.execute("block-job-cancel", { device: job, force: true });
    throw error;
  }
  await unlessOver(qmp.execute("job-finalize", { id: job }));
}

/** The job may have ended, or gone on, since we looked. */
const unlessOver = (command: Promise<unknown>): Promise<unknown> =>
  command.catch((error: unknown) => {
    if (!(error instanceof QmpError && ["GenericError", "DeviceNotActive"].includes(error.errorClass)))
      throw error;
  });

async function finish(
  qmp: Qmp,
  into: string,
  from: string,
  way: "up" | "down",
  { flush, sure }: MergeSteps,
): Promise<"up" | "down"> {
  const [stays, goes] = way === "up" ? [into, from] : [from, into];
  const known = await listNodes(qmp);
  const all = await drives(qmp);
  const drive = driveOver(known, all, stays);
  const gone = formatNode(known, goes);
  if (drive.file === goes || known.some(({ backing }) => backing === goes))
    throw new QmpError("GenericError", "a layer of its disks could not be merged; it is tried again");
  // Most of it, while the guest runs on: it stands still while QEMU writes the rest.
  await flush(stays);
  await settleDrive(qmp, drive);
  // Any but what the guest writes to is open for reading only once it is on disk. What QEMU has of it, and tells at the end of a job at once, is in its memory alone (7.2).
  if (drive.file !== stays && !formatNode(await listNodes(qmp), stays)?.readOnly)
    throw new QmpError(
      "GenericError",
      "what was merged into a layer of its disks could not be made sure on disk",
    );
  if (way === "down") {
    // The heads of those that stand on it name it.
    for (const { backing, file, driver } of known)
      if (driver === "qcow2" && backing === from && file !== into) await flush(file);
    await sure();
  }
  if (gone) await close(qmp, gone);
  return way;
}

/** One that we added ourselves stays open until we say so; others go with their last user. */
async function close(qmp: Qmp, { name }: Node): Promise<void> {
  if ((await listNodes(qmp)).some((node) => node.name === name))
    await qmp.execute("blockdev-del", { "node-name": name });
}
