/**
 * An agent is killed after each program that it runs on the way to a machine (links, tables, disks, TPM, QEMU), and the next agent, which
 * knows no such run, leaves the host as it was. Needs root.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Instance } from "../compute/kinds.ts";
import { Network } from "../compute/networks/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { writeBootDisk } from "../qemu/testing/boot-sectors.ts";
import { systemClock } from "../reconcile/clock.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Event } from "../reconcile/kinds.ts";
import { silentLogger } from "../reconcile/log.ts";
import { run, succeeds } from "../system/run.ts";
import { halfMade } from "./disks/volumes.ts";
import { removeLeftovers } from "./leftovers.ts";
import { Networking } from "./network/network.ts";
import { removeNetworking } from "./network/network-leftovers.ts";
import { tableComment } from "./network/network-names.ts";
import { QemuHypervisor } from "./qemu/qemu-hypervisor.ts";
import type { Doomed } from "./testing/doomed-agent.ts";
import { HardwarePool } from "./testing/hardware.ts";
import { RealMachines, until } from "./testing/real-machines.ts";

const machines = new RealMachines();
let plane: TestControlPlane;
let network: Network;
beforeEach(async () => {
  plane = await openControlPlane();
  network = await plane.client.create(Network, {
    metadata: { name: "left" },
    spec: { subnet: "10.198.8.0/24", nat: true },
  });
});
afterEach(async () => {
  await removeNetworking(machines.folder);
  await plane.close();
});

/** Programs that an agent runs, each in the order in which it is called. */
const PROGRAMS = [
  "ip",
  "nft",
  "tc",
  "bridge",
  "dnsmasq",
  "qemu-img",
  "mkfifo",
  "swtpm",
  "unshare",
  "mcopy",
  "mkfs.vfat",
];

/** Stand-ins for them that kill whoever called the n-th of all, when it has done its work, or has become what it is to be. */
function deadlyPrograms(): string {
  const folder = join(machines.folder, "deadly");
  mkdirSync(folder, { recursive: true });
  for (const program of PROGRAMS) {
    const real = spawnSync("sh", ["-c", `PATH=$PATH:/usr/sbin:/sbin; command -v ${program}`], {
      encoding: "utf8",
    }).stdout.trim();
    const path = join(folder, program);
    const stays = program === "unshare";
    writeFileSync(
      path,
      `#!/bin/sh
n=1; while [ -d "$DEADLY.count" ] && ! mkdir "$DEADLY.count/$n" 2>/dev/null; do n=$((n + 1)); done
${stays ? '[ $n = "$(cat "$DEADLY.at")" ] && kill -9 $PPID' : ""}
${stays ? `exec ${real} "$@"` : `${real} "$@"; code=$?; [ $n = "$(cat "$DEADLY.at")" ] && kill -9 $PPID; exit $code`}
`,
    );
    chmodSync(path, 0o755);
  }
  return folder;
}

/** @returns whether it was killed: false once `at` is beyond all that it runs */
function runAndKill(doomed: Doomed, programs: string, at: number): boolean {
  const deadly = join(machines.folder, "deadly-state");
  // A folder for each that has begun: two at once are two. Programs that QEMU's user runs know of none.
  rmSync(`${deadly}.count`, { recursive: true, force: true });
  mkdirSync(`${deadly}.count`);
  writeFileSync(`${deadly}.at`, String(at));
  const { signal, status, stderr } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, "testing/doomed-agent.ts"), machines.folder, JSON.stringify(doomed)],
    { env: { ...process.env, PATH: `${programs}:${process.env.PATH}`, DEADLY: deadly }, encoding: "utf8" },
  );
  if (signal === null && status !== 0) throw new Error(stderr);
  return signal === "SIGKILL";
}

/** What is on this host of the installation. The network's own is there while it is. */
async function world(): Promise<string[]> {
  const mine = readdirSync("/sys/class/net").filter((link) => {
    try {
      return readFileSync(`/sys/class/net/${link}/ifalias`, "utf8").includes(machines.folder);
    } catch {
      return false;
    }
  });
  const processes = readdirSync("/proc").flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      return /^\d+$/.test(pid) && Number(pid) !== process.pid && command.includes(machines.folder)
        ? [command.slice(0, 100)]
        : [];
    } catch {
      return [];
    }
  });
  const run = join(machines.folder, "run");
  const { stdout: rules } = spawnSync("nft", ["list", "ruleset", "netdev"], { encoding: "utf8" });
  const limits = rules.split("table netdev ").filter((text) => text.includes(tableComment(machines.folder)));
  return [
    ...limits.map((text) => `table ${text.split(" ")[0]}`),
    ...mine.map((link) => `link ${link}`),
    ...processes.map((command) => `process ${command}`),
    ...(existsSync(run) ? readdirSync(run) : []).map((folder) => `folder ${folder}`),
  ].sort();
}

function nextAgent() {
  const networking = new Networking({ stateFolder: machines.folder, address: "127.0.0.1" });
  const hypervisor = new QemuHypervisor({ runDirectory: join(machines.folder, "run"), log: silentLogger });
  const events = new EventRecorder(plane.client, "agent", silentLogger, systemClock, "a");
  const sweep = async () => {
    await removeLeftovers({
      client: plane.client,
      host: "a",
      hypervisor,
      environment: { traces: () => networking.traces() },
      events,
      log: silentLogger,
    });
    await events.flushed();
  };
  return { networking, hypervisor, sweep };
}

/** What Events have told of. */
async function told(reason: string): Promise<string> {
  const { items } = await plane.client.list(Event);
  return items
    .filter(({ spec }) => spec.reason === reason)
    .map(({ spec }) => spec.message)
    .join("\n");
}

it("is all gone, whatever step the agent was killed at, and what is not ours stays", async () => {
  const pool = new HardwarePool(machines, (path) => writeBootDisk(path, "busy"));
  const programs = deadlyPrograms();
  const foreign = [`vrt${process.pid}f`, `vrt${process.pid}g`];
  for (const tap of foreign) await run("ip", ["tuntap", "add", "dev", tap, "mode", "tap"]);
  await run("ip", ["link", "set", "dev", foreign[1] ?? "", "alias", "vireo /somewhere/else"]);
  const notes = join(machines.folder, "run/notes");
  mkdirSync(notes, { recursive: true });
  try {
    const { networking, hypervisor, sweep } = nextAgent();
    await networking.ensure(network, [], []);
    const before = await world();
    let at = 1;
    for (; ; at++) {
      const instance = pool.instance(
        { tpm: true },
        { interfaces: [{ network: "left", mac: "52:54:00:9b:00:01", address: "10.198.8.5" }] },
      );
      const killed = runAndKill({ pool: pool.pool, image: pool.image, instance, network }, programs, at);
      // A QEMU that got to run is nobody's leftover: it is told of, and keeps its tap. Somebody ends it.
      const running = (await hypervisor.list()).filter(({ state }) => state !== "ended");
      await sweep();
      for (const { id } of running) {
        expect(await told("OrphanFound")).toContain(id);
        expect((await world()).filter((it) => it.startsWith("link vrt"))).toHaveLength(1);
        await hypervisor.kill(id);
        await sweep();
      }
      await until(async () => ((await world()).join() === before.join() ? true : undefined), 5000).catch(
        async () => {
          expect(await world(), `killed after program ${at}`).toEqual(before);
        },
      );
      if (!killed) break;
      rmSync(join(machines.folder, "pool/machines"), { recursive: true, force: true });
    }
    // Otherwise nothing was tried.
    expect(at).toBeGreaterThan(10);
    const list = await told("LeftoversRemoved");
    for (const kind of [/tap vrt/, /run folder [0-9a-f]{12}/, /swtpm process \d+/])
      expect(list).toMatch(kind);
    for (const tap of foreign) expect(await succeeds("ip", ["link", "show", tap])).toBe(true);
    expect(existsSync(notes)).toBe(true);
    for (const tap of foreign) expect(list).not.toContain(tap);
    hypervisor.close();
  } finally {
    for (const tap of foreign) await succeeds("ip", ["link", "del", tap]);
  }
});

it("of a network that is gone, bridge, VXLAN, DHCP and tables go; another's stay, and one with a machine on it does", async () => {
  const { networking, sweep } = nextAgent();
  const other = await plane.client.create(Network, {
    metadata: { name: "stays" },
    spec: { subnet: "10.198.9.0/24" },
  });
  for (const each of [network, other]) await networking.ensure(each, ["192.0.2.1"], []);
  await sweep();
  expect(await told("LeftoversRemoved")).toBe("");
  await plane.client.delete(Network, { name: "left" });
  await sweep();
  expect(await told("LeftoversRemoved")).toMatch(/vrb-left.*vrx-left|vrx-left.*vrb-left/);
  expect(await told("LeftoversRemoved")).toMatch(/DHCP of network left.*table (ip|bridge) vireo_left/);
  expect((await world()).filter((it) => /left/.test(it))).toEqual([]);
  expect(await succeeds("nft", ["list", "table", "bridge", "vireo_left"])).toBe(false);
  expect(await succeeds("nft", ["list", "table", "bridge", "vireo_stays"])).toBe(true);
  expect((await world()).filter((it) => /link .*stays/.test(it))).toHaveLength(2);
});

it("credentials that were lent, and a socket for memory, are taken from a machine that runs", async () => {
  const host = machines.hypervisor("run");
  const config = machines.machine("busy");
  await machines.start(host, config);
  for (const name of ["tls", "m"]) mkdirSync(machines.path("run", config.id, name));
  writeFileSync(machines.path("run", config.id, "tls/server-key.pem"), "secret");
  const { sweep, hypervisor } = nextAgent();
  await sweep();
  expect(await told("LeftoversRemoved")).toMatch(/m and tls lent to machine/);
  expect(existsSync(machines.path("run", config.id, "tls"))).toBe(false);
  expect(existsSync(machines.path("run", config.id, "m"))).toBe(false);
  expect((await host.get(config.id))?.state).toBe("running");
  hypervisor.close();
});

it("files that were half made are those of before the agent's start, and never the disks themselves", async () => {
  const pool = new HardwarePool(machines, (path) => writeBootDisk(path, "busy"));
  const instance: Instance = pool.instance({});
  const config = await pool.config(instance);
  const folder = config.folders?.[0] ?? "";
  const root = join(folder, "root.qcow2");
  // Killed between a disk's getting its name and losing the other.
  linkSync(root, `${root}.new`);
  writeFileSync(join(folder, "vars.qcow2.new"), "");
  const started = Date.now() + 1;
  await until(() => (Date.now() > started + 10 ? true : undefined));
  writeFileSync(join(folder, "later.qcow2.new"), "");
  const found = () =>
    halfMade(pool.pool, instance, started, (error) => {
      throw error;
    });
  expect((await found()).sort()).toEqual([`${root}.new`, join(folder, "vars.qcow2.new")]);
  utimesSync(join(folder, "vars.qcow2.new"), new Date(), new Date(started + 60_000));
  expect(await found()).toEqual([`${root}.new`]);
});
