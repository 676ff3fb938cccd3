/** What gets out of a machine's tap, and what does not: frames as a guest would send them, and what arrives at another. Needs root. */
import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Network } from "../../compute/networks/kinds.ts";
import { run, succeeds } from "../../system/run.ts";
import { newId, RealMachines, until } from "../testing/real-machines.ts";
import { Networking } from "./network.ts";
import { guardTable, linkLocal } from "./network-guard.ts";
import { removeNetworking } from "./network-leftovers.ts";
import { tapName } from "./network-names.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-guard-"));
chmodSync(folder, 0o755);
const lan = (more: Partial<Network["spec"]> = {}): Network => ({
  apiVersion: "vireo.dev/v1",
  kind: "Network",
  metadata: { name: "guard" },
  spec: { subnet: "10.198.7.0/24", nat: false, mtu: 1450, ...more },
});
const user = { uid: 200_001, gid: 200_000 };
const [one, two, third] = [
  { uid: "one", mac: "52:54:00:9a:00:01", address: "10.198.7.11" },
  { uid: "two", mac: "52:54:00:9a:00:02", address: "10.198.7.12" },
  { uid: "three", mac: "52:54:00:9a:00:03", address: "10.198.7.13" },
];
const networking = new Networking({ stateFolder: folder, address: "127.0.0.1" });
const taps: string[] = [];

beforeAll(async () => {
  const reservations = [one, two].map(({ uid, mac, address }) => ({ mac, address, hostname: uid }));
  await networking.ensure(lan(), [], reservations);
  for (const nic of [one, two]) taps.push(await networking.ensureTap(lan(), nic, user));
});
afterAll(async () => {
  await removeNetworking(folder);
  rmSync(folder, { recursive: true, force: true });
});

// --- frames, in hexadecimal ---

const hex = (value: number, bytes: number) => value.toString(16).padStart(2 * bytes, "0");
const ofMac = (mac: string) => mac.replaceAll(":", "");
const ofIp = (address: string) =>
  address
    .split(".")
    .map((part) => hex(Number(part), 1))
    .join("");
const ofIp6 = (address: string) => {
  const [head = "", tail = ""] = address.split("::");
  const groups = (text: string) => (text ? text.split(":") : []);
  const missing = 8 - groups(head).length - (address.includes("::") ? groups(tail).length : 0);
  return [...groups(head), ...Array(missing).fill("0"), ...(address.includes("::") ? groups(tail) : [])]
    .map((group) => group.padStart(4, "0"))
    .join("");
};
const ALL = "ff".repeat(6);
const ether = (from: string, type: string, payload: string) => `${ALL}${ofMac(from)}${type}${payload}`;
const arp = (operation: number, mac: string, address: string, target: string) =>
  `0001080006040${hex(operation, 2).slice(1)}${ofMac(mac)}${ofIp(address)}${"00".repeat(6)}${ofIp(target)}`;
const ip = (protocol: number, from: string, to: string, payload: string) => {
  const head = (sum: number) =>
    `4500${hex(20 + payload.length / 2, 2)}0000000040${hex(protocol, 1)}${hex(sum, 2)}${ofIp(from)}${ofIp(to)}`;
  const words = head(0).match(/.{4}/g) ?? [];
  const sum = words.reduce((all, word) => all + Number.parseInt(word, 16), 0);
  return head(0xffff ^ ((sum & 0xffff) + (sum >> 16))) + payload;
};
const udp = (from: number, to: number, payload = "") =>
  `${hex(from, 2)}${hex(to, 2)}${hex(8 + payload.length / 2, 2)}0000${payload}`;
const dhcp = (operation: number, mac: string) =>
  `${hex(operation, 1)}010600${"00".repeat(24)}${ofMac(mac)}${"00".repeat(202)}63825363350101ff`;
const ip6 = (next: number, from: string, to: string, payload: string) =>
  `60000000${hex(payload.length / 2, 2)}${hex(next, 1)}ff${ofIp6(from)}${ofIp6(to)}${payload}`;
const advert = (target: string, mac: string) => `8800000020000000${ofIp6(target)}0201${ofMac(mac)}`;
const [mine, theirs] = [linkLocal(one.mac), linkLocal(two.mac)];
const NODES = "ff02::1";
// Hop-by-hop options: padding that has our own address where a neighbour's advertisement has its target.
const hidden = (payload: string) => `3a03${`0116${"00".repeat(6)}${ofIp6(mine)}`.padEnd(60, "0")}${payload}`;

const PASS: Record<string, string> = {
  "arp-own": ether(one.mac, "0806", arp(1, one.mac, one.address, two.address)),
  "arp-reply": ether(one.mac, "0806", arp(2, one.mac, one.address, two.address)),
  "arp-probe": ether(one.mac, "0806", arp(1, one.mac, "0.0.0.0", one.address)),
  "announce-self": ether(one.mac, "8035", `00010800060400030${ofMac(one.mac).slice(1)}`.padEnd(92, "0")),
  "dhcp-discover": ether(
    one.mac,
    "0800",
    ip(17, "0.0.0.0", "255.255.255.255", udp(68, 67, dhcp(1, one.mac))),
  ),
  "dhcp-renew": ether(one.mac, "0800", ip(17, one.address, "10.198.7.1", udp(68, 67, dhcp(1, one.mac)))),
  "ip-own": ether(one.mac, "0800", ip(17, one.address, two.address, udp(1000, 53))),
  "ip6-own": ether(one.mac, "86dd", ip6(17, mine, theirs, udp(1000, 53))),
  "ip6-duplicate-detection": ether(one.mac, "86dd", ip6(58, "::", NODES, `8700000000000000${ofIp6(mine)}`)),
  "ip6-advert-own": ether(one.mac, "86dd", ip6(58, mine, NODES, advert(mine, one.mac))),
};
const DROP: Record<string, string> = {
  "mac-foreign": ether(two.mac, "0800", ip(17, one.address, "10.198.7.1", udp(1000, 53))),
  "mac-gateway": ether("02:76:00:00:00:01", "0800", ip(17, one.address, two.address, udp(1000, 53))),
  "arp-foreign-address": ether(one.mac, "0806", arp(2, one.mac, two.address, one.address)),
  "arp-gateway": ether(one.mac, "0806", arp(2, one.mac, "10.198.7.1", two.address)),
  "arp-foreign-mac": ether(one.mac, "0806", arp(2, two.mac, one.address, two.address)),
  "arp-reply-without-address": ether(one.mac, "0806", arp(2, one.mac, "0.0.0.0", two.address)),
  "announce-other": ether(two.mac, "8035", "00".repeat(46)),
  "ip-foreign": ether(one.mac, "0800", ip(17, two.address, "10.198.7.1", udp(1000, 53))),
  "ip-nowhere": ether(one.mac, "0800", ip(17, "192.0.2.1", two.address, udp(1000, 53))),
  "dhcp-server": ether(
    one.mac,
    "0800",
    ip(17, one.address, "255.255.255.255", udp(67, 68, dhcp(2, two.mac))),
  ),
  "dhcp-for-another": ether(
    one.mac,
    "0800",
    ip(17, "0.0.0.0", "255.255.255.255", udp(68, 67, dhcp(1, two.mac))),
  ),
  "dhcp-release-of-another": ether(
    one.mac,
    "0800",
    ip(17, one.address, "10.198.7.1", udp(68, 67, dhcp(1, two.mac))),
  ),
  "ip6-foreign": ether(one.mac, "86dd", ip6(17, theirs, NODES, udp(1000, 53))),
  "ip6-global": ether(one.mac, "86dd", ip6(17, "2001:db8::1", theirs, udp(1000, 53))),
  "ip6-router": ether(one.mac, "86dd", ip6(58, mine, NODES, `8600000040000708${"00".repeat(8)}`)),
  "ip6-redirect": ether(one.mac, "86dd", ip6(58, mine, theirs, `8900000000000000${"00".repeat(32)}`)),
  "ip6-advert-foreign": ether(one.mac, "86dd", ip6(58, mine, NODES, advert(theirs, one.mac))),
  "ip6-advert-foreign-mac": ether(one.mac, "86dd", ip6(58, mine, NODES, advert(mine, two.mac))),
  "ip6-advert-hidden": ether(one.mac, "86dd", ip6(0, mine, NODES, hidden(advert(theirs, one.mac)))),
  "ip6-router-hidden": ether(
    one.mac,
    "86dd",
    ip6(0, mine, NODES, hidden(`8600000040000708${"00".repeat(8)}`)),
  ),
  "ip6-dhcp-server": ether(one.mac, "86dd", ip6(17, mine, theirs, udp(547, 546))),
  "vlan-tagged": ether(one.mac, "8100", `00050800${ip(17, two.address, "10.198.7.1", udp(1000, 53))}`),
  "unknown-kind": ether(one.mac, "88b5", "00".repeat(46)),
};

/** Each frame by name: what became of it on its way from the first tap to the second. */
async function send(
  frames: Record<string, string>,
  from = taps[0],
  to = taps[1],
): Promise<Record<string, string>> {
  const child = promisify(execFile)("perl", [
    join(import.meta.dirname, "../testing/frames.pl"),
    from ?? "",
    to ?? "",
  ]);
  const lines = Object.entries({ marker: PASS["arp-own"], ...frames }).map(
    ([name, frame]) => `${name} ${frame}\n`,
  );
  child.child.stdin?.end(lines.join(""));
  const { stdout } = await child;
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" ") as [string, string]),
  );
}
const all = (frames: Record<string, string>, fate: string) =>
  Object.fromEntries(Object.keys(frames).map((name) => [name, fate]));

describe("out of a machine's tap", () => {
  it("comes what is its own, and nothing that speaks as another", async () => {
    expect(await send({ ...PASS, ...DROP })).toEqual({ ...all(PASS, "passed"), ...all(DROP, "dropped") });
  });

  it("also after somebody has taken the rules away, at the agent's next look; another NIC does not bring it out of order", async () => {
    const forged = { "ip-foreign": DROP["ip-foreign"] ?? "" };
    const nics = [one, two].map((nic) => ({ ...nic, tap: tapName(nic), network: lan() }));
    await run("nft", ["delete", "table", "bridge", guardTable(folder)]);
    expect(await send(forged)).toEqual(all(forged, "passed"));
    await networking.guard(nics);
    expect(await send({ ...forged, ...PASS })).toEqual({ ...all(PASS, "passed"), ...all(forged, "dropped") });
    await run("nft", ["flush", "table", "bridge", guardTable(folder)]);
    await run("nft", ["delete", "table", "bridge", guardTable(folder)]);
    await networking.ensureTap(lan(), third, user);
    expect(await send(forged)).toEqual(all(forged, "dropped"));
    await networking.removeTap(third);
    expect(await run("nft", ["list", "table", "bridge", guardTable(folder)])).not.toContain(third.mac);
    expect(await send({ ...forged, ...PASS })).toEqual({ ...all(PASS, "passed"), ...all(forged, "dropped") });
  });

  it("comes everything where the network says so, until it does no more", async () => {
    const forged = { "ip-foreign": DROP["ip-foreign"] ?? "" };
    const nics = (network: Network) => [one, two].map((nic) => ({ ...nic, tap: tapName(nic), network }));
    await networking.guard(nics(lan({ antiSpoofing: false })));
    expect(await send(DROP)).toEqual(all(DROP, "passed"));
    await networking.guard(nics(lan()));
    expect(await send(forged)).toEqual(all(forged, "dropped"));
  });

  it("a new agent finds what another left, and another installation's stays", async () => {
    const other = mkdtempSync(join(tmpdir(), "vireo-guard-"));
    try {
      const theirs = new Networking({ stateFolder: other, address: "127.0.0.1" });
      await theirs.guard([]);
      await removeNetworking(other);
      const forged = { "ip-foreign": DROP["ip-foreign"] ?? "" };
      expect(await send(forged)).toEqual(all(forged, "dropped"));
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });
});

it("DHCP gives a machine its address through it, and no other machine's", async () => {
  const namespace = "vrt-guard";
  // In place of the tap: the other end is the guest's.
  const nic = { ...one, uid: "dhcp" };
  const tap = tapName(nic);
  await run("ip", ["netns", "add", namespace]);
  try {
    const peer = ["peer", "name", "eth0", "address", one.mac, "netns", namespace];
    await run("ip", ["link", "add", tap, "type", "veth", ...peer]);
    await networking.ensureTap(lan(), nic, user);
    await run("ip", ["-n", namespace, "link", "set", "eth0", "up"]);
    await run("ip", ["-n", namespace, "route", "add", "default", "dev", "eth0"]);
    const client = join(import.meta.dirname, "../testing/dhcp-client.ts");
    const ask = (mac: string) => run("ip", ["netns", "exec", namespace, process.execPath, client, mac]);
    expect((await ask(one.mac)).trim()).toBe(one.address);
    expect((await ask(two.mac)).trim()).toBe("none");
    expect(await succeeds("ip", ["link", "show", tap])).toBe(true);
  } finally {
    await networking.removeTap(nic);
    await run("ip", ["netns", "del", namespace]);
  }
});

describe("a machine that has moved", () => {
  const machines = new RealMachines();
  afterEach(() => networking.removeTap(third));

  it("tells where it is now: the announcement of its new QEMU gets out", async () => {
    const [source, target] = [machines.hypervisor("a"), machines.hypervisor("b")];
    const config = machines.machine("busy");
    const nic = { mac: third.mac, mtu: 1450 };
    const before = { ...third, uid: "before" };
    const tap = await networking.ensureTap(lan(), before, config.user);
    await machines.start(source, { ...config, nics: [{ ...nic, backend: { tap } }] });
    const incoming = { ...config, id: newId(), uuid: config.id };
    const there = await networking.ensureTap(lan(), third, config.user);
    await machines.start(target, { ...incoming, nics: [{ ...nic, backend: { tap: there } }] }, "incoming");
    const listener = spawn("perl", [
      join(import.meta.dirname, "../testing/frames.pl"),
      taps[0] ?? "",
      taps[1] ?? "",
      third.mac,
    ]);
    let heard = "";
    listener.stdout.on("data", (text: Buffer) => {
      heard += String(text);
    });
    try {
      await source.migrate(config.id, await target.listen(incoming.id, "127.0.0.1"));
      const phase = async () => (await source.migration(config.id)).phase;
      await until(async () => ((await phase()) === "pre-switchover" ? true : undefined));
      expect(await source.switchover(config.id)).toMatchObject({ phase: "completed" });
      await until(async () => ((await target.get(incoming.id))?.state === "paused" ? true : undefined));
      await target.resume(incoming.id);
      await until(() => (heard.includes("announced") ? true : undefined));
    } finally {
      listener.kill();
      await source.kill(config.id);
      await networking.removeTap(before);
    }
  });
});
