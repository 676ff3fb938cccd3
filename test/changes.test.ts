/**
 * What changes while a machine runs, in one guest built by Vireo: disks and networks come and go, disks grow, limits are set; the guest sees it, a
 * move to another host takes it along, and what has to wait for the next start says so.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Image } from "../src/images/kinds.ts";
import { writeBootCd } from "../src/qemu/testing/boot-sectors.ts";
import { getCondition } from "../src/resource/object.ts";
import { Stack, until } from "./support/stack.ts";

let stack: Stack;
let file: string;

const MANIFEST = `
apiVersion: vireo.dev/v1
kind: Image
metadata: { name: plain }
spec: { recipe: { packages: [] } }
---
apiVersion: vireo.dev/v1
kind: Network
metadata: { name: second }
spec: { subnet: 10.88.7.0/24 }
---
apiVersion: vireo.dev/v1
kind: VirtualMachine
metadata: { name: a }
spec: { memory: 192Mi, maxMemory: 512Mi, maxCpus: 3, image: plain, disks: [{ name: data, size: 64Mi }], cdDrives: [{ name: cd }] }
`;

const at = { name: "a", namespace: "default" };

beforeAll(async () => {
  stack = await Stack.create();
  file = join(mkdtempSync(join(tmpdir(), "vireo-changes-")), "a.yaml");
  writeFileSync(file, MANIFEST);
  const { code, stdout, stderr } = await stack.up(["--hosts", "2", "-f", file]);
  expect(code, stdout + stderr).toBe(0);
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(async () => {
  await stack?.destroy();
  rmSync(dirname(file), { recursive: true });
});

async function inGuest(command: string): Promise<string> {
  const { stdout, stderr } = await stack.vireo(["exec", "vm/a", "--", "sh", "-c", command]);
  return (stdout + stderr).trim();
}
const guestSays = (command: string, wanted: string) =>
  until(
    `${command}: ${wanted}`,
    60_000,
    async () => ((await inGuest(command)) === wanted ? true : undefined),
    async () => `${await inGuest(command)}; ${JSON.stringify((await machine()).status)}`,
  );
async function machine(): Promise<VirtualMachine> {
  const vm = await stack.client.get(VirtualMachine, at);
  if (!vm) throw new Error("no vm/a");
  return vm;
}
async function run(): Promise<Instance> {
  const instance = await stack.client.get(Instance, {
    ...at,
    name: (await machine()).status?.instance ?? "",
  });
  if (!instance) throw new Error("no instance");
  return instance;
}
const change = (spec: Partial<VirtualMachine["spec"]>) => stack.client.patch(VirtualMachine, at, { spec });
const pending = async () => ((await machine()).status?.pendingChanges ?? []).map(({ field }) => field);
const nothingPending = () =>
  until(
    "no change is pending",
    60_000,
    async () => ((await pending()).length === 0 ? true : undefined),
    async () => JSON.stringify((await machine()).status?.pendingChanges),
  );
/** Sizes of its disks in MiB by serial number, as the guest tells them; not those of the system disk and the seed. */
const DISKS =
  "cd /sys/block; for d in vd?; do s=$(cat $d/serial); case $s in disk?) ;; *) echo $s $(($(cat $d/size) / 2048));; esac; done | sort";
const CARDS = "ls /sys/class/net | grep -c eth";
const onDisk = (name: string) => `/dev/$(cd /sys/block; grep -lx ${name} vd?/serial | cut -d/ -f1)`;

it("disks and networks come, and disks grow, while the guest runs", async () => {
  expect(await inGuest(DISKS)).toBe("data 64");
  await change({
    diskSize: "400Mi",
    diskLimits: { iops: 400, burst: { iops: 800, seconds: 2 } },
    disks: [
      { name: "data", size: "96Mi" },
      { name: "more", size: "32Mi", limits: { bytesPerSecond: "8Mi" } },
    ],
    networks: ["default", "second"],
    networkLimits: [{ network: "default", sendBytesPerSecond: "512Ki" }],
  });
  await guestSays(DISKS, "data 96\nmore 32");
  await guestSays(CARDS, "2");
  await guestSays("echo $(($(cat /sys/block/vda/size) / 2048))", "400");
  await nothingPending();
  expect((await run()).status).toMatchObject({
    has: { ports: 8, disks: [{ name: "data" }, { name: "more" }], interfaces: [{}, { network: "second" }] },
    refused: [],
  });
  expect((await run()).status?.has?.interfaces[0]?.limits).toEqual({ sendBytesPerSecond: "512Ki" });
  expect(
    await inGuest(`echo kept | dd of=${onDisk("more")} bs=512 conv=sync 2>/dev/null; sync; echo ok`),
  ).toBe("ok");
});

it("a CD comes into the drive; what is not there, or is no CD, does not", async () => {
  writeBootCd(join(stack.paths.pool, "images/tools.iso"), "busy");
  await stack.client.create(Image, { metadata: { name: "tools" }, spec: { file: "tools.iso" } });
  for (const [image, why] of [
    ["nowhere", "there is no Image nowhere"],
    ["plain", "image plain is a disk (qcow2)"],
  ] as const) {
    await change({ cdDrives: [{ name: "cd", image }] });
    await until(why, 60_000, async () =>
      JSON.stringify((await machine()).status?.pendingChanges ?? []).includes(why) ? true : undefined,
    );
  }
  const { code, stdout, stderr } = await stack.vireo(["insert", "vm/a", "tools"]);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("tools is in the drive cd of vm/a");
  expect((await run()).status?.has?.cdDrives).toEqual([{ name: "cd", image: "tools" }]);
});

/** In KiB, as the guest tells it. What its balloon has is still among the total, and not available. */
const memory = async (what: "MemTotal" | "MemAvailable") =>
  Number(await inGuest(`sed -n 's/^${what}: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo`));
const memTotal = () => memory("MemTotal");
let begunWith = 0;

it("CPUs and memory come, and the balloon takes what the guest is not to use", async () => {
  begunWith = await memTotal();
  expect(await inGuest("nproc")).toBe("1");
  await change({ cpus: 2, memory: "320Mi" });
  await guestSays("nproc", "2");
  // A block of Linux, whole.
  await until("the guest has more memory", 60_000, async () =>
    (await memTotal()) > begunWith + 120 * 1024 ? true : undefined,
  );
  // What a kernel takes for itself; 64 MiB more would be a buffer that none of its devices needs (images/build/builder.ts).
  expect(begunWith).toBeGreaterThan(140 * 1024);
  await nothingPending();
  expect((await run()).status?.has).toMatchObject({
    cpus: { begun: 1, now: 2, most: 3 },
    memory: { begun: "192Mi", modules: ["128Mi"], most: "512Mi" },
  });
  await change({ memoryTarget: "160Mi" });
  await until("the balloon has taken it", 60_000, async () =>
    (await memory("MemAvailable")) < 140 * 1024 ? true : undefined,
  );
});

it("a move takes along what came", async () => {
  const { host } = (await machine()).status ?? {};
  const to = host === "fast-1" ? "frugal-1" : "fast-1";
  const { code, stdout, stderr } = await stack.vireo(["migrate", "vm/a", "--to", to], { timeoutMs: 60_000 });
  expect(code, stdout + stderr).toBe(0);
  expect((await machine()).status?.host).toBe(to);
  expect(await inGuest(DISKS)).toBe("data 96\nmore 32");
  expect(await inGuest(`head -c 4 ${onDisk("more")}`)).toBe("kept");
  expect(await inGuest("nproc")).toBe("2");
  await nothingPending();
  expect((await run()).status?.has).toMatchObject({
    ports: 8,
    cpus: { now: 2 },
    memory: { modules: ["128Mi"] },
    interfaces: [{}, { network: "second" }],
    cdDrives: [{ name: "cd", image: "tools" }],
  });
  const ejected = await stack.vireo(["eject", "vm/a"]);
  expect(ejected.code, ejected.stderr).toBe(0);
  expect(ejected.stdout).toContain("the drive cd of vm/a is empty");
  expect((await run()).status?.has?.cdDrives).toEqual([{ name: "cd" }]);
});

it("what it sends is limited where it has moved to, too", async () => {
  const size = 2 * 2 ** 20;
  let begun = 0;
  const received = Promise.withResolvers<number>();
  const server = createServer((socket) => {
    begun = performance.now();
    let count = 0;
    socket.on("error", received.reject);
    socket.on("data", (data) => {
      count += data.length;
      if (count >= size) received.resolve((performance.now() - begun) / 1000);
    });
  });
  // This machine's own address in the network.
  const here = ((await machine()).status?.interfaces?.[0]?.address ?? "").replace(/\d+$/, "2");
  await new Promise<void>((done) => server.listen(0, here, done));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  await inGuest(`dd if=/dev/zero bs=64k count=${size / 65536} 2>/dev/null | nc ${here} ${port}`);
  const seconds = await received.promise;
  server.close();
  // It may have saved as much as it may send in a second.
  expect((size - 2 ** 19 - 2 ** 16) / seconds).toBeLessThan(2 ** 19);
});

it("they go, and what was on a disk is there when it is named again", async () => {
  await change({ disks: [{ name: "data", size: "96Mi" }], networks: ["default"] });
  await guestSays(DISKS, "data 96");
  await guestSays(CARDS, "1");
  await nothingPending();
  expect((await machine()).status?.disks).toMatchObject([{ name: "data" }, { name: "more", made: true }]);
  await change({
    disks: [
      { name: "data", size: "96Mi" },
      { name: "more", size: "32Mi" },
    ],
  });
  await guestSays(DISKS, "data 96\nmore 32");
  expect(await inGuest(`head -c 4 ${onDisk("more")}`)).toBe("kept");
});

it("memory goes when the guest lets go of it, and until then it is told that it has not", async () => {
  await stack.client.patch(VirtualMachine, at, { spec: { memory: "192Mi", memoryTarget: null } });
  const changes = async () => JSON.stringify((await machine()).status?.pendingChanges ?? []);
  const isGone = async () => ((await run()).status?.has?.memory?.modules.length === 0 ? true : undefined);
  const gone = await until("the module is gone", 45_000, isGone).catch(() => false);
  // What is in it may not be movable for a while: that is the guest's to say.
  if (!gone) expect(await changes()).toContain("has not let go of a memory module");
  else expect(Math.abs((await memTotal()) - begunWith)).toBeLessThan(1024);
});

it("what has to wait for the next start says so, and is there then", async () => {
  await change({ cpus: 1, hardware: { video: "vga" } });
  await until("pending", 10_000, async () => ((await pending()).length === 2 ? true : undefined));
  const condition = getCondition((await machine()).status?.conditions, "RestartRequired");
  expect(condition).toMatchObject({
    status: "True",
    message: expect.stringContaining("cpus: 2 → 1 (emulated CPUs (tcg) come while it runs, and do not go)"),
  });
  const { stdout } = await stack.kubectl(["get", "vm", "a", "-o", "wide"]);
  expect(stdout).toMatch(/RESTART FOR[\s\S]*cpus: 2 → 1/);
  await change({ running: false });
  await until("it is stopped", 90_000, async () =>
    (await machine()).status?.phase === "Stopped" ? true : undefined,
  );
  expect(await pending()).toEqual([]);
  await change({ running: true });
  await until("it runs", 60_000, async () =>
    (await machine()).status?.phase === "Running" ? true : undefined,
  );
  expect(await inGuest("nproc")).toBe("1");
  expect(await inGuest(DISKS)).toBe("data 96\nmore 32");
  expect(await pending()).toEqual([]);
});
