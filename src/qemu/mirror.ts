/**
 * Disks that go along with a live migration, over NBD, as verified on QEMU 7.2. The target exports its own, empty disks from the QEMU that waits for the
 * memory; the source mirrors into them while its guest runs. Writes of the guest are followed until the guest has stopped for the switchover:
 *
 *   target   exportDisks ────────────────────────────────────────────────────────── stopExports, `cont`
 *   source   startMirrors ─ copying ─ ready ─ (memory is sent) ─ pre-switchover: finishMirrors ─ migrate-continue
 *
 * A chain of layers goes along layer by layer (top), and while a target's layer is written, the one below it is open for writing, too: so it is opened apart
 * from that, and put on it before the guest runs (openBelow).
 *
 * A job of QEMU that has ended stays in its list until abandonMirrors, so what an agent that died has done can be seen: only a job that ended
 * without an error has copied all. Afterwards nothing in QEMU keeps source and target from running both, each on disks of its own: who may, is
 * decided elsewhere.
 */
import { listNodes, nodeNames } from "./block-nodes.ts";
import { isFields, type Qmp, QmpError } from "./qmp.ts";
import { listeningPorts, parseTcp } from "./sockets.ts";
import { clientTls, serverTls, type Tls } from "./tls.ts";

/** A node of the block graph, or a file that the guest does not have as one. */
export type Disk = { name: string } & (
  | { node: string }
  | { file: { path: string; format: "qcow2" | "raw"; apart?: boolean } }
);

export interface Mirror {
  disk: Disk;
  /** top: the target's disk has the same file below it as ours has below its top one. full: it is empty. */
  sync: "full" | "top";
  /** The target's node that holds its dirty bitmaps. */
  remoteNode?: string;
}

export interface MirrorStatus {
  phase: "none" | "copying" | "ready" | "finished" | "failed";
  transferredBytes: number;
  remainingBytes: number;
  error?: string;
}

const JOB = "mirror-";
const BITMAPS = "dirty-bitmaps";
/** Nodes of our own, both ends. With a name they have at most 31 characters. */
const FILE = "copy-";
const REMOTE = "to-";

/** How long the guest may stand still for the last of its writes. */
const FINISH_MS = 30_000;
const CANCEL_MS = 30_000;

async function nodeOf(qmp: Qmp, disk: Disk, readOnly: boolean): Promise<string> {
  if ("node" in disk) return disk.node;
  const node = `${FILE}${disk.name}`;
  const { path: filename, format: driver, apart } = disk.file;
  const file = { driver: "file", filename, aio: "threads", locking: "on", "read-only": readOnly };
  if (!(await nodeNames(qmp)).includes(node))
    await qmp.execute("blockdev-add", {
      driver,
      "node-name": node,
      "read-only": readOnly,
      ...(apart ? { backing: null } : {}),
      file,
    });
  return node;
}

/**
 * Target, which waits for its memory: lets a source write the disks. QEMU picks the port. No-op when they are exported.
 * @param pid of this QEMU
 * @returns "tcp:IP:PORT"
 */
export async function exportDisks(
  qmp: Qmp,
  pid: number,
  address: string,
  disks: readonly Disk[],
  tls: Tls | undefined,
): Promise<string> {
  const known = await exported(qmp);
  if (known.size === 0) {
    const addr = { type: "inet", data: { host: address, port: "0" } };
    const credentials = tls ? await serverTls(qmp, tls) : {};
    await qmp.execute("nbd-server-start", { addr, ...credentials }).catch((error: unknown) => {
      // By an agent that died before it had exported anything.
      if (!(error instanceof QmpError && /already running/.test(error.message))) throw error;
    });
  }
  await setBitmaps(qmp, true);
  for (const disk of disks)
    if (!known.has(disk.name)) {
      const { name } = disk;
      const node = await nodeOf(qmp, disk, false);
      await qmp.execute("block-export-add", {
        type: "nbd",
        id: name,
        name,
        "node-name": node,
        writable: true,
      });
    }
  const migration = await qmp.execute("query-migrate");
  const others = isFields(migration) && migration["socket-address"];
  const taken = (Array.isArray(others) ? others : []).flatMap((o) => (isFields(o) ? [Number(o.port)] : []));
  // NBD's QEMU does not tell.
  const [port, ...more] = listeningPorts(pid).filter((each) => !taken.includes(each));
  if (port === undefined || more.length > 0)
    throw new QmpError("GenericError", "QEMU does not tell where it takes disks");
  return `tcp:${address.includes(":") ? `[${address}]` : address}:${port}`;
}

async function exported(qmp: Qmp): Promise<Set<string>> {
  const answer = await qmp.execute("query-block-exports");
  return new Set((Array.isArray(answer) ? answer : []).filter(isFields).map(({ id }) => String(id)));
}

/** Ends the exports, and what was set for them, before the guest runs here. May be called again. */
export async function stopExports(qmp: Qmp): Promise<void> {
  const [exports, nodes] = await Promise.all([exported(qmp), nodeNames(qmp)]);
  if (exports.size > 0) await qmp.execute("nbd-server-stop", undefined, FINISH_MS);
  await setBitmaps(qmp, false);
  for (const node of nodes)
    if (node.startsWith(FILE)) await qmp.execute("blockdev-del", { "node-name": node });
}

/**
 * Dirty bitmaps go along with the memory. Off again afterwards: on shared disks each end keeps them in the file, and QEMU would keep no memory while
 * the guest runs (memory.ts).
 */
async function setBitmaps(qmp: Qmp, state: boolean): Promise<void> {
  await qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: BITMAPS, state }] });
}

async function isOn(qmp: Qmp, capability: string): Promise<boolean> {
  const all = await qmp.execute("query-migrate-capabilities");
  const wanted = (each: unknown) => isFields(each) && each.capability === capability && each.state === true;
  return Array.isArray(all) && all.some(wanted);
}

/**
 * Source: begins to mirror. No-op for those that are under way. `bandwidth`: bytes per second of all together, of which each has the same share
 * (areas of zeros count, too); no limit when absent. @throws QmpError; then abandonMirrors is to be called
 */
export async function startMirrors(
  qmp: Qmp,
  to: { address: string; tls?: Tls; hostname?: string; bandwidth?: number; mirrors: readonly Mirror[] },
): Promise<void> {
  const at = parseTcp(to.address);
  if (!at) throw new Error(`${to.address} is not an address to send disks to`);
  const server = { type: "inet", ...at };
  const [jobs, known] = [await listJobs(qmp), await nodeNames(qmp)];
  const credentials = to.tls
    ? { "tls-creds": await clientTls(qmp, to.tls), ...(to.hostname ? { "tls-hostname": to.hostname } : {}) }
    : {};
  const share = to.bandwidth && Math.ceil(to.bandwidth / to.mirrors.length);
  for (const { disk, sync } of to.mirrors) {
    const { name } = disk;
    if (jobs.has(name)) continue;
    const remote = `${REMOTE}${name}`;
    if (!known.includes(remote))
      await qmp.execute("blockdev-add", {
        driver: "raw",
        "node-name": remote,
        file: { driver: "nbd", server, export: name, ...credentials },
      });
    await qmp.execute("blockdev-mirror", {
      "job-id": `${JOB}${name}`,
      device: await nodeOf(qmp, disk, true),
      target: remote,
      sync,
      ...(share ? { speed: share } : {}),
      "auto-dismiss": false,
      "on-source-error": "report",
      "on-target-error": "report",
    });
  }
  await mapBitmaps(qmp, to.mirrors);
}

/** Which bitmaps go along, to which node there. */
async function mapBitmaps(qmp: Qmp, mirrors: readonly Mirror[]): Promise<void> {
  const all = await listNodes(qmp);
  const mapping = mirrors.flatMap(({ disk, remoteNode }) => {
    const top = "node" in disk ? all.find(({ name }) => name === disk.node) : undefined;
    // The bitmaps of a disk are its format's: those of the layer that is written to.
    return all
      .filter(({ file, bitmaps }) => remoteNode && file === top?.file && bitmaps.length > 0)
      .map(({ name, bitmaps }) => ({
        "node-name": name,
        alias: remoteNode,
        bitmaps: bitmaps.map((bitmap) => ({ name: bitmap, alias: bitmap })),
      }));
  });
  await setBitmaps(qmp, true);
  await qmp.execute("migrate-set-parameters", { "block-bitmap-mapping": mapping });
}

/** Whether dirty bitmaps go along with the next migration. */
export async function sendsBitmaps(qmp: Qmp): Promise<boolean> {
  if (!(await isOn(qmp, BITMAPS))) return false;
  const parameters = await qmp.execute("query-migrate-parameters");
  const mapping = isFields(parameters) && parameters["block-bitmap-mapping"];
  return Array.isArray(mapping) && mapping.length > 0;
}

interface Job {
  status: string;
  ready: boolean;
  offset: number;
  length: number;
  error?: string;
}

/** By the disk's name. */
async function listJobs(qmp: Qmp): Promise<Map<string, Job>> {
  const answer = await qmp.execute("query-block-jobs");
  return new Map(
    (Array.isArray(answer) ? answer : []).filter(isFields).flatMap((job) => {
      const id = String(job.device);
      if (!id.startsWith(JOB)) return [];
      return [
        [
          id.slice(JOB.length),
          {
            status: String(job.status),
            ready: job.ready === true,
            offset: Number(job.offset),
            length: Number(job.len),
            ...(typeof job.error === "string" ? { error: job.error } : {}),
          },
        ],
      ];
    }),
  );
}

const isOver = ({ status }: Job) => status === "concluded" || status === "null";

/** Of all of them: as far as the one that is least far. */
export async function queryMirrors(qmp: Qmp): Promise<MirrorStatus> {
  const jobs = [...(await listJobs(qmp)).values()];
  const sum = (of: (job: Job) => number) => jobs.reduce((total, job) => total + of(job), 0);
  const figures = {
    transferredBytes: sum(({ offset }) => offset),
    remainingBytes: sum(({ offset, length }) => length - offset),
  };
  if (jobs.length === 0) return { phase: "none", ...figures };
  const failed = jobs.find(({ error }) => error !== undefined);
  if (failed?.error !== undefined) return { phase: "failed", ...figures, error: failed.error };
  if (jobs.every(isOver)) return { phase: "finished", ...figures };
  if (jobs.every((job) => isOver(job) || job.ready)) return { phase: "ready", ...figures };
  return { phase: "copying", ...figures };
}

/**
 * Source, once its guest has stopped: has the last writes copied and ends the mirrors; the target's disks are the same then. May be called again.
 * @throws QmpError when one has not all; the guest must not go on there
 */
export async function finishMirrors(qmp: Qmp): Promise<void> {
  await Promise.all(
    [...(await listJobs(qmp))].map(async ([name, job]) => {
      if (isOver(job)) return;
      const ended = concluded(qmp, name, FINISH_MS);
      if (await cancel(qmp, name, false)) await ended;
    }),
  );
  const { phase, error } = await queryMirrors(qmp);
  if (phase !== "finished")
    throw new QmpError("GenericError", error ?? `its disks were not all copied within ${FINISH_MS / 1000} s`);
  await closeNodes(qmp);
}

/** Source: what there is of mirrors in its QEMU, by names of QEMU's; what abandonMirrors takes away. */
export async function listMirrors(qmp: Qmp): Promise<string[]> {
  const [jobs, nodes] = [await listJobs(qmp), await nodeNames(qmp)];
  return [
    ...[...jobs.keys()].map((name) => `block job ${JOB}${name}`),
    ...nodes.filter((node) => node.startsWith(REMOTE)).map((node) => `NBD node ${node}`),
    ...nodes.filter((node) => node.startsWith(FILE)).map((node) => `node ${node}`),
    ...((await isOn(qmp, BITMAPS)) ? ["dirty bitmaps that are to go along"] : []),
  ];
}

/** Source: ends the mirrors, whether or not they have copied all. No-op when there are none. */
export async function abandonMirrors(qmp: Qmp): Promise<void> {
  for (const [name, job] of await listJobs(qmp)) {
    const ended = concluded(qmp, name, CANCEL_MS);
    if (!isOver(job) && (await cancel(qmp, name, true))) await ended;
    await qmp.execute("job-dismiss", { id: `${JOB}${name}` });
  }
  await closeNodes(qmp);
  await setBitmaps(qmp, false);
}

/** @returns false when it has ended by itself meanwhile */
async function cancel(qmp: Qmp, name: string, force: boolean): Promise<boolean> {
  try {
    // The guest stands still for the rest.
    if (!force) await qmp.execute("block-job-set-speed", { device: `${JOB}${name}`, speed: 0 });
    await qmp.execute("block-job-cancel", { device: `${JOB}${name}`, force });
    return true;
  } catch (error) {
    const job = (await listJobs(qmp)).get(name);
    if (job && !isOver(job)) throw error;
    return false;
  }
}

const concluded = (qmp: Qmp, name: string, timeoutMs: number) =>
  qmp.waitFor(
    ({ event, data }) =>
      event === "JOB_STATUS_CHANGE" && data.id === `${JOB}${name}` && data.status === "concluded",
    timeoutMs,
  );

async function closeNodes(qmp: Qmp): Promise<void> {
  for (const node of await nodeNames(qmp))
    if (node.startsWith(REMOTE) || node.startsWith(FILE))
      await qmp.execute("blockdev-del", { "node-name": node });
}
