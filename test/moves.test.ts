/**
 * Moves without shared storage, with real processes, real guests and two hosts that each have a file system of their own at the pool's path: the
 * disks go along, and are at one host in the end, whoever was killed on the way.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { asUser, reached } from "../src/agent/testing/outward-probe.ts";
import { Host } from "../src/compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Migration } from "../src/compute/migrations/kinds.ts";
import { Snapshot } from "../src/compute/snapshots/kinds.ts";
import { Image } from "../src/images/kinds.ts";
import { writeBootDisk } from "../src/qemu/testing/boot-sectors.ts";
import { run, Stack, until } from "./support/stack.ts";

const HOSTS = ["fast-1", "frugal-1"];
let stack: Stack;

const at = (name: string) => ({ name, namespace: "default" });
const state = () =>
  stack
    .kubectl(["get", "vm,instances,migrations", "-o", "wide"])
    .then(({ stdout, stderr }) => stdout + stderr);

async function phase(name: string, wanted: string): Promise<VirtualMachine> {
  return until(
    `${name} ${wanted}`,
    60_000,
    async () => {
      const vm = await stack.client.get(VirtualMachine, at(name)).catch(() => undefined);
      return vm?.status?.phase === wanted ? vm : undefined;
    },
    state,
  );
}

/** The folder of a machine's disks as a host has it; undefined when there is none. */
function disksAt(host: string, vm: string): string | undefined {
  const folder = join(stack.paths.host(host), "local/machines/default");
  const found = existsSync(folder)
    ? readdirSync(folder).find((name) => name.startsWith(`${vm}-`))
    : undefined;
  return found && join(folder, found);
}

/** What the guest writes to. */
function activeLayer(folder: string): string {
  const path = join(folder, "layers.json");
  const { active = {} } = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  return join(folder, active.root ?? "root.qcow2");
}

/** A layer names the one below it by its path, which leads to its own host's file system only there. */
const into = (host: string) => ["--mount", "--target", String(stack.daemon(`agent ${host}`).pid)];
const asThere = (host: string, path: string) =>
  path.replace(join(stack.paths.host(host), "local"), stack.paths.local);

/** What its guest has counted to, on that host's disk. */
async function counted(host: string, vm: string): Promise<number> {
  const raw = join(stack.paths.state, "logs/look.raw");
  const disk = activeLayer(disksAt(host, vm) ?? "");
  const what = ["convert", "-U", "-f", "qcow2", "-O", "raw", asThere(host, disk), raw];
  const { code, stderr } = await run("nsenter", [...into(host), "qemu-img", ...what]);
  expect([code, stderr]).toEqual([0, ""]);
  const counts = readFileSync(raw);
  rmSync(raw);
  const [first, window] = [2048, 0x4000];
  return Math.max(...Array.from({ length: window }, (_, i) => counts.readUInt32LE((first + i) * 512)));
}

/** It writes its disk there. */
async function writesOn(host: string, vm: string, from = 0): Promise<number> {
  return until("a write of the guest", 30_000, async () => {
    const now = await counted(host, vm);
    return now > from ? now : undefined;
  });
}

const other = (host: string | undefined) => HOSTS.find((name) => name !== host) ?? "";

/** Processes of the machine's QEMUs. */
function processes(vm: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const command = readFileSync(join("/proc", pid, "cmdline"), "utf8");
      return command.includes(stack.paths.state) && command.includes(`guest=${vm}-`);
    } catch {
      return false;
    }
  });
}

beforeAll(async () => {
  stack = await Stack.create();
  const { code, stdout, stderr } = await stack.up(["--hosts", "2"]);
  if (code !== 0) throw new Error(stdout + stderr);
  writeBootDisk(join(stack.paths.pool, "images/writer.raw"), "writer");
  await stack.client.create(Image, { metadata: { name: "writer" }, spec: { file: "writer.raw" } });
  await stack.client.create(VirtualMachine, {
    metadata: at("a"),
    spec: { memory: "64Mi", image: "writer", storagePool: "local", readiness: { none: true } },
  });
  await phase("a", "Running");
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(() => stack?.destroy());

it("takes the disks along while the guest writes them, and leaves none behind", async () => {
  const from = (await phase("a", "Running")).status?.host ?? "";
  const to = other(from);
  const before = await writesOn(from, "a");
  expect(disksAt(to, "a")).toBeUndefined();
  // The director chooses, and there is one other host.
  const moved = await stack.vireo(["migrate", "vm/a"], { timeoutMs: 120_000 });
  expect(moved.code, moved.stdout + moved.stderr).toBe(0);
  expect((await phase("a", "Running")).status).toMatchObject({
    host: to,
    why: expect.stringMatching(/^no policy/),
  });
  await writesOn(to, "a", before);
  await until("nothing left behind", 30_000, async () => (disksAt(from, "a") ? undefined : true));
  // What the image has is not sent: it is on storage that both share.
  const info = await run("qemu-img", ["info", "-U", join(disksAt(to, "a") ?? "", "root.qcow2")]);
  expect(info.stdout).toContain(join(stack.paths.pool, "images/writer.raw"));
  const [migration] = (await stack.client.list(Migration)).items;
  expect(migration?.status).toMatchObject({
    phase: "Succeeded",
    stage: "Memory",
    disks: { transferredBytes: expect.any(Number), remainingBytes: 0 },
    memory: { transferredBytes: expect.any(Number) },
  });
});

it("and its QEMU, which sent all that, reaches neither the API nor an agent", async () => {
  const { host = "", user: uid = 0 } = (await phase("a", "Running")).status ?? {};
  const pid = String(stack.daemon(`agent ${host}`).pid);
  const args = readFileSync(join("/proc", pid, "cmdline"), "utf8").split("\0");
  const api = new URL(args[args.indexOf("--join") + 1] ?? "");
  const { consoleAddress } = (await stack.client.get(Host, { name: other(host) }))?.status ?? {};
  const ports = [`tcp:${api.hostname}:${api.port}`, `tcp:${consoleAddress}`];
  const [qemu = ""] = processes("a");
  const inside = [...["nsenter", "--net", "--mount", "--target", qemu], ...asUser({ uid, gid: uid })];
  expect(Object.values(await reached(inside, ports))).toEqual(ports.map(() => "Connection refused"));
  // The agent beside it does.
  const beside = ["nsenter", "--net", "--target", pid];
  expect(Object.values(await reached(beside, ports))).toEqual(ports.map(() => "reached"));
});

it("leaves a host in maintenance, which takes none until that ends", async () => {
  const host = (await phase("a", "Running")).status?.host ?? "";
  const before = await writesOn(host, "a");
  const drained = await stack.vireo(["drain", host, "--timeout", "120s"], { timeoutMs: 150_000 });
  expect(drained.code, drained.stdout + drained.stderr).toBe(0);
  expect(drained.stdout).toMatch(new RegExp(`host/${host} is empty`));
  expect((await phase("a", "Running")).status).toMatchObject({
    host: other(host),
    why: `${host} is in maintenance`,
  });
  await writesOn(other(host), "a", before);
  const refused = await stack.vireo(["migrate", "vm/a", "--to", host]);
  expect(refused.stdout + refused.stderr).toMatch(/takes no machines \(spec.maintenance\)/);
  const ended = await stack.vireo(["uncordon", host]);
  expect(ended.stdout).toMatch(/takes machines again/);
  const unknown = await stack.vireo(["cordon", "nowhere"]);
  expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringMatching(/there is no host "nowhere"/)]);
});

it("takes its snapshots along, and goes back to them where it is then; those with memory do not go along, and it says so", async () => {
  const { host } = (await phase("a", "Running")).status ?? {};
  const snapshot = async (name: string, ...how: string[]) => {
    const taken = await stack.vireo(["snapshot", "vm/a", "--name", name, ...how]);
    expect(taken.code, taken.stderr).toBe(0);
  };
  await snapshot("one");
  const then = await writesOn(host ?? "", "a");
  await snapshot("two");
  await snapshot("memory", "--memory");
  // What the move needed of QEMU is over: the guest runs on while its memory is kept.
  expect((await stack.client.get(Snapshot, at("memory")))?.status).toMatchObject({
    taken: { memory: { live: true } },
  });
  const refused = await stack.vireo(["migrate", "vm/a", "--to", other(host)]);
  expect(refused.code).toBe(1);
  expect(refused.stdout + refused.stderr).toMatch(
    /has snapshots with memory \(memory\), which do not go along/,
  );
  await stack.client.delete(Snapshot, at("memory"));
  await until("the snapshot gone", 30_000, async () =>
    (await stack.client.get(Snapshot, at("memory"))) ? undefined : true,
  );
  const before = await writesOn(host ?? "", "a", then);
  const moved = await stack.vireo(["migrate", "vm/a", "--to", other(host)], { timeoutMs: 120_000 });
  expect(moved.code, moved.stdout + moved.stderr).toBe(0);
  await writesOn(other(host), "a", before);
  expect(await chain(other(host))).toHaveLength(4);
  // One in the middle is merged while the guest runs there; the other is gone back to.
  await stack.client.delete(Snapshot, at("two"));
  await until("the snapshot gone", 30_000, async () =>
    (await stack.client.get(Snapshot, at("two"))) ? undefined : true,
  );
  await writesOn(other(host), "a", before);
  const back = await stack.vireo(["rollback", "vm/a", "--to", "one", "--no-keep"], { timeoutMs: 60_000 });
  expect(back.code, back.stdout + back.stderr).toBe(0);
  await phase("a", "Running");
  expect(await counted(other(host), "a")).toBeLessThan(before);
});

/** The files of its system disk there, the image last. */
async function chain(host: string): Promise<string[]> {
  const disk = activeLayer(disksAt(host, "a") ?? "");
  const what = ["info", "-U", "--backing-chain", asThere(host, disk)];
  const { stdout } = await run("nsenter", [...into(host), "qemu-img", ...what]);
  return [...stdout.matchAll(/^image: (.*)$/gm)].map(([, path = ""]) => path);
}

it.each([
  { who: "the source's agent", daemons: (from: string) => [`agent ${from}`], afterMs: 300 },
  { who: "the target's agent", daemons: (from: string) => [`agent ${other(from)}`], afterMs: 600 },
  {
    who: "everything",
    daemons: (from: string) => ["control-plane", `agent ${from}`, `agent ${other(from)}`],
    afterMs: 900,
  },
])(
  "ends at one host, with its disks there alone, when $who is killed on the way",
  async ({ daemons, afterMs }) => {
    const from = (await phase("a", "Running")).status?.host ?? "";
    const name = `killed-${afterMs}`;
    await stack.client.create(Migration, { metadata: at(name), spec: { vm: "a", to: other(from) } });
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    for (const daemon of daemons(from)) await stack.kill(daemon);
    for (const daemon of daemons(from)) await stack.restart(daemon);
    const { status } = await until(
      "the end of the migration",
      90_000,
      async () => {
        const m = await stack.client.get(Migration, at(name)).catch(() => undefined);
        return ["Succeeded", "Failed"].includes(m?.status?.phase ?? "") ? m : undefined;
      },
      state,
    );
    const { host = "" } = (await phase("a", "Running")).status ?? {};
    expect(host).toBe(status?.phase === "Succeeded" ? other(from) : from);
    await until("one process, disks at one host", 60_000, async () =>
      processes("a").length === 1 && disksAt(host, "a") && !disksAt(other(host), "a") ? true : undefined,
    );
    await writesOn(host, "a", await counted(host, "a"));
  },
);

it("is started again only where its disks are; and takes them with it when it is deleted", async () => {
  const { host = "" } = (await phase("a", "Running")).status ?? {};
  const cordon = (unschedulable: boolean) =>
    stack.kubectl(["patch", "host", host, "--type=merge", "-p", JSON.stringify({ spec: { unschedulable } })]);
  const crash = () => {
    for (const pid of processes("a")) process.kill(Number(pid), "SIGKILL");
  };
  await cordon(true);
  crash();
  const why = await until("a reason", 30_000, async () => {
    const vm = await stack.client.get(VirtualMachine, at("a"));
    return vm?.status?.conditions?.find(({ message }) => message.includes("its disks are on"))?.message;
  });
  expect(why).toContain(`${other(host)}: its disks are on ${host}, in a storage pool that is not shared`);
  await cordon(false);
  expect((await phase("a", "Running")).status?.host).toBe(host);
  crash();
  await stack.client.delete(VirtualMachine, at("a"));
  await until("it gone", 60_000, async () =>
    (await stack.client.get(VirtualMachine, at("a"))) ? undefined : true,
  );
  expect((await stack.client.list(Instance)).items).toEqual([]);
  for (const host of HOSTS)
    expect(readdirSync(join(stack.paths.host(host), "local/machines/default"))).toEqual([]);
});
