/**
 * Layers of disks under a running guest, over QMP: all disks switched to new overlays at one instant, and a layer that nobody needs any more
 * taken out of a chain. What is open, and where, is asked of QEMU each time; a layer is known by its path, which never changes.
 */
import { createHash } from "node:crypto";
import { type Node, listNodes as nodes, pathOf } from "./block-nodes.ts";
import { sameDrive } from "./devices.ts";
import { isFields, type Qmp, QmpError } from "./qmp.ts";

/** A qcow2 file that is open for writing, and an empty overlay of it that is to take its place. */
export interface Switch {
  from: string;
  to: string;
}

/** As in command-line.ts. */
const LAYER = { "read-only": false, discard: "unmap" } as const;

/** The paths of the layers that the guest writes to now, one for each of its disks. */
export async function activeLayers(qmp: Qmp): Promise<string[]> {
  const answer = await qmp.execute("query-block");
  return (Array.isArray(answer) ? answer : []).flatMap((device) =>
    isFields(device) && isFields(device.inserted) && typeof device.inserted.file === "string"
      ? [pathOf(device.inserted.file)]
      : [],
  );
}

const formatNode = (all: readonly Node[], path: string): Node | undefined =>
  all.find(({ driver, file }) => file === path && driver === "qcow2");

/** At most 31 characters; of the path, because that is what makes a layer. */
export const layerNode = (path: string) =>
  `layer-${createHash("sha256").update(path).digest("hex").slice(0, 24)}`;

/** Opens the overlays. @returns what a transaction has to do to switch the disks that are not switched yet. @throws QmpError */
export async function overlayActions(qmp: Qmp, switches: readonly Switch[]): Promise<unknown[]> {
  const active = await activeLayers(qmp);
  const wanted = switches.filter(({ to }) => !active.includes(to));
  const known = await nodes(qmp);
  const actions: unknown[] = [];
  for (const { from, to } of wanted) {
    const node = formatNode(known, from);
    if (!node || !active.includes(from)) throw new QmpError("GenericError", `it does not write to ${from}`);
    const overlay = layerNode(to);
    // Of an attempt that was cut short.
    if (known.some(({ name }) => name === overlay))
      await qmp.execute("blockdev-del", { "node-name": overlay });
    await qmp.execute("blockdev-add", {
      driver: "qcow2",
      "node-name": overlay,
      ...LAYER,
      backing: null,
      file: { driver: "file", filename: to, aio: "threads", locking: "on", ...LAYER },
    });
    actions.push({ type: "blockdev-snapshot", data: { node: node.name, overlay } });
  }
  return actions;
}

/**
 * Switches all disks in one transaction: what they hold afterwards in the layers below is of one instant. Disks that are switched already stay
 * as they are. @returns how long it took, ms: the longest that a write of the guest can have waited. @throws QmpError; then none is switched.
 */
export async function switchLayers(qmp: Qmp, switches: readonly Switch[]): Promise<number> {
  const actions = await overlayActions(qmp, switches);
  if (actions.length === 0) return 0;
  const began = performance.now();
  await qmp.execute("transaction", { actions }, 60_000);
  return performance.now() - began;
}

/** Jobs of absorbLayer. */
export const ABSORB = "absorb-";

export interface AbsorbSteps {
  /** Called before the copying begins, which it can prevent by throwing. */
  check: () => Promise<void>;
  /** Has on disk what the kernel has of `into`. */
  flush: () => Promise<void>;
}

/** What little is left of it, to a slow disk. */
const FLUSH_MS = 60_000;

/** How long a layer may take to be copied into the one above it: a day. */
const ABSORB_MS = 86_400_000;

/**
 * Copies what `from` holds into `into`, the layer right above it, and takes `from` out of the chain, while the guest runs; `into` may be any
 * layer, also the one that is written to. Goes on with one that is under way. Afterwards all of it is on disk. @returns false when `into` is not open here. @throws QmpError
 */
export async function absorbLayer(
  qmp: Qmp,
  into: string,
  from: string,
  { check, flush }: AbsorbSteps,
): Promise<boolean> {
  const known = await nodes(qmp);
  const [top, bottom] = [formatNode(known, into), formatNode(known, from)];
  if (!top) return false;
  if (!bottom || top.backing !== from) {
    // Done before, but for the last steps.
    await flushLayer(qmp, into, flush);
    if (bottom) await close(qmp, bottom);
    return true;
  }
  const job = `${ABSORB}${top.name}`.replaceAll("#", "");
  const isUnderWay = await isRunning(qmp, job);
  if (!isUnderWay) await check();
  let said: string | undefined;
  const ended = qmp.waitFor(({ event, data }) => {
    if (data.device !== job || (event !== "BLOCK_JOB_COMPLETED" && event !== "BLOCK_JOB_CANCELLED"))
      return false;
    if (typeof data.error === "string") said = data.error;
    return true;
  }, ABSORB_MS);
  if (!isUnderWay)
    await qmp.execute("block-stream", { "job-id": job, device: top.name, bottom: bottom.name });
  await Promise.race([ended, gone(qmp, job)]);
  if (said)
    throw new QmpError("GenericError", `what it holds could not be merged into the layer above: ${said}`);
  if (qmp.closed) throw new QmpError("Disconnected", "QEMU closed the monitor");
  await flushLayer(qmp, into, flush);
  await close(qmp, bottom);
  return true;
}

/**
 * Has all on disk that QEMU has of an open layer. The head that names another file below is written at the end of a job at once, and where the clusters are that it
 * has copied is in QEMU's memory alone (7.2). Only reopening tells whether it could be written: a filter does, as the one above the layer that the guest
 * writes to. Any other is open for reading only once it is on disk. @throws QmpError; Error of the file system
 */
async function flushLayer(qmp: Qmp, path: string, flush: AbsorbSteps["flush"]): Promise<void> {
  // Most of it, while the guest runs on: it stands still while QEMU writes the rest.
  await flush();
  const known = await nodes(qmp);
  const layer = formatNode(known, path);
  const answer = await qmp.execute("query-block");
  const above = (Array.isArray(answer) ? answer : [])
    .flatMap((device) => (isFields(device) && isFields(device.inserted) ? [device.inserted] : []))
    .find(({ file }) => typeof file === "string" && pathOf(file) === path);
  if (layer && above) {
    const options = [sameDrive(String(above["node-name"]), layer.name)];
    await qmp.execute("blockdev-reopen", { options }, FLUSH_MS);
  } else if (!layer?.readOnly)
    throw new QmpError(
      "GenericError",
      "what was merged into a layer of its disks could not be made sure on disk",
    );
}

/** One that we added ourselves stays open until we say so; others go with their last user. */
async function close(qmp: Qmp, { name }: Node): Promise<void> {
  if ((await nodes(qmp)).some((node) => node.name === name))
    await qmp.execute("blockdev-del", { "node-name": name });
}

async function isRunning(qmp: Qmp, job: string): Promise<boolean> {
  const jobs = await qmp.execute("query-block-jobs");
  return Array.isArray(jobs) && jobs.some((each) => isFields(each) && each.device === job);
}

/** Until it is no longer listed: its event may have come before we listened. */
async function gone(qmp: Qmp, job: string): Promise<void> {
  while (!qmp.closed && (await isRunning(qmp, job).catch(() => false)))
    await new Promise((resolve) => setTimeout(resolve, 200));
}
