/**
 * Starts and stops a machine, and moves it to and fro between the two hosts of a running installation, many times, and tells what is there
 * afterwards that was not there before: processes, links, packet filters, files, sockets, mounts, control groups, and file descriptors of the control
 * plane and the agents.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import type { StatePaths } from "../../src/cli/paths.ts";
import { readRecord } from "../../src/cli/record.ts";
import type { Client } from "../../src/client/client.ts";
import { Instance, VirtualMachine } from "../../src/compute/kinds.ts";
import { Migration } from "../../src/compute/migrations/kinds.ts";
import { Image } from "../../src/images/kinds.ts";
import { writeBootDisk } from "../../src/qemu/testing/boot-sectors.ts";
import { Event } from "../../src/reconcile/kinds.ts";
import { run } from "../../src/system/run.ts";

export interface Cycles {
  paths: StatePaths;
  client: Client;
  /** The two that it moves between. */
  hosts: readonly [string, string];
  startStops: number;
  migrations: number;
  print?: (line: string) => void;
}

const WAIT_MS = 120_000;
/** What is cleaned up a minute later is no leftover. */
const SETTLE_MS = 120_000;
/**
 * Clients keep connections for their next requests (src/client/http.ts): two that were made at once leave one more, for as long as it is used now
 * and then. What a start or a move leaves behind is there once for each of them, which is more.
 */
const KEPT_CONNECTIONS = 2;
const at = { name: "cycles", namespace: "default" };

async function until<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  ms = WAIT_MS,
): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** @returns what is left, each with how often it is there more than before */
export async function runCycles(options: Cycles): Promise<string[]> {
  const { paths, client, hosts, startStops, migrations, print = () => {} } = options;
  await makeImage(options);
  await client.create(VirtualMachine, {
    metadata: at,
    spec: {
      memory: "64Mi",
      image: at.name,
      running: false,
      readiness: { none: true },
      hardware: { tpm: true },
    },
  });
  const ids = new Set<string>();
  const power = async (running: boolean) => {
    await client.patch(VirtualMachine, at, { spec: { running } });
    await until(running ? "a start" : "a stop", async () => {
      const phase = (await client.get(VirtualMachine, at))?.status?.phase;
      return phase === (running ? "Running" : "Stopped") ? true : undefined;
    });
    if (running) await hearsItsButton(paths, client, ids);
  };
  const move = async (number: number) => {
    const vm = await client.get(VirtualMachine, at);
    const to = hosts.find((host) => host !== vm?.status?.host) ?? "";
    const name = `cycles-${number}`;
    await client.create(Migration, {
      metadata: { name, namespace: at.namespace },
      spec: { vm: at.name, to },
    });
    const done = await until(`move ${number}`, async () => {
      const migration = await client.get(Migration, { name, namespace: at.namespace });
      return ["Succeeded", "Failed", "Cancelled"].includes(migration?.status?.phase ?? "")
        ? migration
        : undefined;
    });
    if (done.status?.phase !== "Succeeded") throw new Error(`move ${number}: ${JSON.stringify(done.status)}`);
    await client.delete(Migration, { name, namespace: at.namespace });
  };
  // Once around first: disks are made, connections and logs opened, and are not made again.
  await power(true);
  for (const number of [-2, -1]) await move(number);
  await power(false);
  // What the agent does after a stop is over.
  let before = await world(paths, ids);
  await until("rest", async () => {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const now = await world(paths, ids);
    const isCalm = difference(now, before).length + difference(before, now).length === 0;
    before = now;
    return isCalm ? true : undefined;
  });
  for (let i = 0; i < startStops; i++) {
    await power(true);
    await power(false);
    if ((i + 1) % 10 === 0) print(`${i + 1} starts and stops`);
  }
  await power(true);
  for (let i = 0; i < migrations; i++) {
    await move(i);
    if ((i + 1) % 10 === 0) print(`${i + 1} moves`);
  }
  await power(false);
  let left: string[] = [];
  const deadline = Date.now() + SETTLE_MS;
  do {
    await new Promise((resolve) => setTimeout(resolve, 500));
    left = difference(before, await world(paths, ids));
  } while (left.length > 0 && Date.now() < deadline);
  // What the agents had to clean up was left, too.
  for (const { spec } of (await client.list(Event)).items)
    if (spec.reason === "LeftoversRemoved") left.push(spec.message);
  await client.delete(VirtualMachine, at);
  await until("the end of the machine", async () =>
    (await client.get(VirtualMachine, at)) ? undefined : true,
  );
  return left;
}

async function makeImage({ paths, client }: Cycles): Promise<void> {
  const images = join(paths.pool, "images");
  mkdirSync(images, { recursive: true });
  writeBootDisk(join(images, "cycles.raw"), "button");
  chmodSync(join(images, "cycles.raw"), 0o644);
  await client.create(Image, {
    metadata: { name: at.name },
    spec: { storagePool: "default", file: "cycles.raw" },
  });
  await until("the image", async () =>
    (await client.get(Image, { name: at.name }))?.status?.phase === "Ready" ? true : undefined,
  );
}

/** The guest says so; before that it would not be stopped by it. */
async function hearsItsButton(paths: StatePaths, client: Client, ids: Set<string>): Promise<void> {
  const name = (await client.get(VirtualMachine, at))?.status?.instance ?? "";
  const instance = await client.get(Instance, { ...at, name });
  const id = instance?.metadata.uid?.replaceAll("-", "").slice(0, 12) ?? "";
  ids.add(id);
  const log = join(paths.host(instance?.spec.host ?? ""), "run", id, "serial");
  const hasSpoken = () =>
    existsSync(log) && readdirSync(log).some((name) => statSync(join(log, name)).size > 0);
  await until("the guest's word", () => (hasSpoken() ? true : undefined));
}

/** How many there are of each. */
type World = Map<string, number>;

async function world(paths: StatePaths, ids: ReadonlySet<string>): Promise<World> {
  const found: World = new Map();
  const add = (what: string) => found.set(what, (found.get(what) ?? 0) + 1);
  const record = readRecord(paths);
  for (const daemon of [...(record?.controlPlanes ?? []), ...(record?.agents ?? [])])
    for (const fd of descriptors(daemon.pid ?? 0)) add(`${daemon.name}: file descriptor ${fd}`);
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name) && name !== String(process.pid)))
    if (commandOf(pid).includes(paths.state)) add(`process ${programOf(pid)}`);
  for (const namespace of record?.network?.hosts.map((host) => host.namespace) ?? []) {
    const inside = (...command: string[]) => run("ip", ["netns", "exec", namespace, ...command]);
    for (const [, link = ""] of (await inside("ip", "-o", "link", "show")).matchAll(/^\d+: ([^:@]+)/gm))
      add(`${namespace}: link ${link}`);
    for (const line of (await inside("nft", "list", "ruleset")).split("\n").map(lasting))
      if (line !== "") add(`${namespace}: nft ${line}`);
  }
  // Logs, the store and the audit log are there to grow.
  for (const folder of [join(paths.state, "hosts"), paths.pool])
    for (const path of filesIn(folder)) add(`file ${path}`);
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n"))
    if (line.includes(paths.state)) add(`mount ${line.split(" ")[4]}`);
  for (const id of ids)
    for (const controller of ["", ...readdirSync("/sys/fs/cgroup")])
      if (existsSync(join("/sys/fs/cgroup", controller, "vireo", id)))
        add(`control group ${id} of ${controller}`);
  return found;
}

/** Without elements of sets that the kernel removes by itself (who may be connected to for a move: two minutes); "" when nothing else is in it. */
function lasting(line: string): string {
  const left = line.replaceAll(/[^{},]+ expires [^{},]+/g, "").trim();
  return /\w/.test(left.replace(/^elements =/, "")) ? left : "";
}

/** All below a folder; what goes while we look is not there. */
function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? [path, ...filesIn(path)] : [path];
    });
  } catch {
    return [];
  }
}

const commandOf = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
};
const programOf = (pid: string) => commandOf(pid).split("\0")[0] ?? "";

/** By what they are: numbers and ports differ from one to the next. */
function descriptors(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).flatMap((fd) => {
    try {
      return [readlinkSync(join(folder, fd)).replace(/:\[\d+\]$/, "")];
    } catch {
      return [];
    }
  });
}

/** What there is more of. Of files that a machine is started with anew each time, the number counts. */
function difference(before: World, after: World): string[] {
  return [...after].flatMap(([what, count]) => {
    const more =
      count - (before.get(what) ?? 0) - (what.endsWith("file descriptor socket") ? KEPT_CONNECTIONS : 0);
    return more > 0 ? [`${what}${more > 1 ? ` (${more} times)` : ""}`] : [];
  });
}
