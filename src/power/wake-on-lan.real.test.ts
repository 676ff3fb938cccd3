/** The magic packet on a real wire: between two network namespaces, to the broadcast address; what is there wakes, being called by its own address. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { wakeNeighbours } from "../agent/waking.ts";
import { modify } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { openControlPlane } from "../compute/testing/control-plane.ts";
import { declaredFacts } from "../compute/testing/estate.ts";
import { systemClock } from "../reconcile/clock.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import { silentLogger } from "../reconcile/log.ts";
import { setCondition } from "../resource/object.ts";
import { magicPacket } from "../system/wake-on-lan.ts";
import { runPowerReconciler } from "./reconciler.ts";

const HERE = import.meta.dirname;
const MAC = "02:00:00:c0:ff:ee";
/** The host's network card, which is powered while the host is off: its only program looks at each frame on the wire. */
const CARD = `
import { createSocket } from "node:dgram";
const own = Buffer.from(process.argv[2].replaceAll(":", ""), "hex");
const socket = createSocket({ type: "udp4", reuseAddr: true });
socket.on("message", (frame, from) => {
  const ones = frame.subarray(0, 6).every((byte) => byte === 0xff);
  const calls = Array.from({ length: 16 }, (_, i) => frame.subarray(6 + 6 * i, 12 + 6 * i));
  if (!ones || frame.length !== 102 || !calls.every((call) => call.equals(own))) return console.log("not for me");
  console.log("woken from " + from.address);
  process.exit(0);
});
socket.bind(9, () => console.log("asleep"));
`;
const names = { here: `vwol-a${process.pid}`, there: `vwol-b${process.pid}` };
let folder: string;
let card: ReturnType<typeof spawn> | undefined;

const ip = (...args: string[]) => {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-wol-"));
  for (const name of Object.values(names)) ip("netns", "add", name);
  ip("-n", names.here, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", names.there);
  for (const [name, link, address] of [
    [names.here, "wire0", "10.213.0.1/24"],
    [names.there, "wire1", "10.213.0.2/24"],
  ] as const) {
    ip("-n", name, "address", "add", address, "broadcast", "10.213.0.255", "dev", link);
    ip("-n", name, "link", "set", link, "up");
  }
});
afterEach(() => {
  card?.kill("SIGKILL");
  for (const name of Object.values(names)) ip("netns", "delete", name);
  rmSync(folder, { recursive: true });
});

const node = (namespace: string, script: string, ...args: string[]) => {
  const path = join(folder, `${namespace}.ts`);
  writeFileSync(path, script);
  return [
    "netns",
    "exec",
    namespace,
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    path,
    ...args,
  ];
};
const send = (mac: string, address: string) => {
  const script = `import { openWakeOnLan } from ${JSON.stringify(resolve(HERE, "wake-on-lan.ts"))};
await openWakeOnLan({ mac: process.argv[2], address: process.argv[3], port: 9 }).on().catch((error) => { console.error(error.message); process.exit(1); });`;
  return spawnSync("ip", node(names.here, script, mac, address), { encoding: "utf8" });
};

/** The card of a host that is off. */
async function asleep() {
  const lines: string[] = [];
  card = spawn("ip", node(names.there, CARD, MAC));
  card.stdout?.on("data", (chunk) => lines.push(...String(chunk).trim().split("\n")));
  const ended = new Promise<number | null>((done) => card?.once("exit", done));
  const told = async (line: string) => {
    for (let i = 0; i < 400 && !lines.includes(line); i++) await new Promise((done) => setTimeout(done, 25));
    expect(lines).toContain(line);
  };
  await told("asleep");
  return { lines, ended, told };
}

it("wakes the host whose address it has, and no other", async () => {
  expect(magicPacket(MAC)).toHaveLength(102);
  const { ended, lines, told } = await asleep();
  expect(send("02:00:00:00:00:01", "10.213.0.255")).toMatchObject({ status: 0, stderr: "" });
  await told("not for me");
  expect(lines.some((line) => line.startsWith("woken"))).toBe(false);
  expect(send(MAC, "10.213.0.255")).toMatchObject({ status: 0, stderr: "" });
  expect(await ended).toBe(0);
  expect(lines).toContain("woken from 10.213.0.1");
});

it("says where it could not be sent, and what would mend it", () => {
  expect(send(MAC, "192.0.2.255")).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(
      /^the packet that wakes 02:00:00:c0:ff:ee could not be sent to 192.0.2.255:9 \(.*ENETUNREACH.*\); spec.bmc.wakeOnLan.address has to be/,
    ),
  });
});

it("is sent by the agent of another host in its network, where the control plane's machine is in none with it", async () => {
  const plane = await openControlPlane();
  const stop = new AbortController();
  const context = { client: plane.client, clock: systemClock, log: silentLogger, signal: stop.signal };
  const { client } = plane;
  const status = (ready: "True" | "Unknown") => ({
    facts: declaredFacts("x", { networks: ["10.213.0.0/24"] }),
    conditions: setCondition([], { type: "Ready", status: ready, reason: "Test", message: "" }, "2026"),
  });
  // It said that it goes off, and is silent since.
  const off = { agent: { version: "1", startedTime: "a" }, parting: { time: "2026", task: "t", agent: "a" } };
  await client.create(Host, {
    metadata: { name: "asleep" },
    spec: { power: "On", bmc: { wakeOnLan: { mac: MAC, address: "10.213.0.255" } } },
  });
  await client.create(Host, { metadata: { name: "near" }, spec: {} });
  for (const [name, now] of [
    ["asleep", { ...status("Unknown"), ...off }],
    ["near", status("True")],
  ] as const)
    await modify(client, Host, { name }, "status", (host) => ({
      ...host,
      status: { ...host.status, ...now },
    }));
  const { ended, lines } = await asleep();
  // The agent of "near" in its own network namespace, which alone has the wire; the API it has over a pipe of this test.
  const own = new Informer(client, Host, { fieldSelector: "metadata.name=near" });
  wakeNeighbours({
    ...context,
    host: "near",
    own,
    events: new EventRecorder(client, "agent", silentLogger, systemClock),
    send: async ({ mac, address }) => {
      const sent = send(mac, address);
      if (sent.status !== 0) throw new Error(sent.stderr);
    },
  });
  const agent = own.run(stop.signal);
  const power = runPowerReconciler({ ...context, secretOf: async () => undefined, bootId: "another" });
  try {
    expect(await ended).toBe(0);
    expect(lines).toContain("woken from 10.213.0.1");
  } finally {
    stop.abort();
    await Promise.all([agent, power]);
    await plane.close();
  }
});
