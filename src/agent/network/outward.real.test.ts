/** What machines' users reach over IP, and that their guests' frames get through all the same. Needs root. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { Network } from "../../compute/networks/kinds.ts";
import { type EtcdCluster, startEtcd } from "../../store/testing/etcd.ts";
import { run, succeeds } from "../../system/run.ts";
import { giveUp, ownFolder } from "../../system/testing/owned-folder.ts";
import { asUser, reached } from "../testing/outward-probe.ts";
import { Networking } from "./network.ts";
import { removeNetworking } from "./network-leftovers.ts";
import { linkName, tableOf } from "./network-names.ts";
import { Outward, outwardTable } from "./outward.ts";

/** No other test's: their machines send each other. */
const [user, other, nobody] = [271_001, 271_002, 271_003].map((uid) => ({ uid, gid: 200_000 }));
if (!user || !other || !nobody) throw new Error("three users");

let folder = "";
let outward: Outward;
let etcd: EtcdCluster;
let store = "";

beforeAll(async () => {
  etcd = await startEtcd();
  store = `tcp:${etcd.endpoints[0]}`;
});
afterAll(() => etcd.stop());
beforeEach(() => {
  folder = ownFolder("vireo-outward-");
  outward = new Outward(folder);
});
afterEach(async () => {
  await removeNetworking(folder);
  rmSync(folder, { recursive: true, force: true });
  giveUp(folder);
});

const reach = async (who: { uid: number; gid: number }, address: string) =>
  (await reached(asUser(who), [address]))[address];
const REFUSED = "Connection refused";
/** What it is told by whoever listens there. */
const READ = `use Socket; socket(my $s,PF_INET,SOCK_STREAM,0); connect($s,pack_sockaddr_in($ARGV[0],INADDR_LOOPBACK)) or die "$!"; print <$s>`;

it("a machine's user reaches neither a store without TLS nor anything else, and others on the host do", async () => {
  const elsewhere = [store, "udp:127.0.0.1:53", "tcp:192.0.2.1:443", "udp:192.0.2.1:53"];
  expect(await reach(user, store)).toBe("reached");
  await outward.confine(user.uid);
  const found = await reached(asUser(user), elsewhere);
  expect(Object.keys(found)).toEqual(elsewhere);
  for (const address of elsewhere)
    expect(found[address], address).toMatch(/refused|No route|not permitted|denied/);
  expect(await reach(other, store)).toBe("reached");
  // A second one, and the first stays.
  await outward.confine(other.uid);
  expect([await reach(user, store), await reach(other, store)]).toEqual([REFUSED, REFUSED]);
  expect(await reach(nobody, store)).toBe("reached");
});

it("the one connection of a migration may be made, by its own machine alone, and goes on", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {}); // whoever only looks hangs up
    socket.end("hello");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const at = server.address();
    const port = String(typeof at === "object" ? at?.port : "");
    const target = `tcp:127.0.0.1:${port}`;
    for (const { uid } of [user, other]) await outward.confine(uid);
    expect(await reach(user, target)).toBe(REFUSED);
    await outward.allow(user.uid, target);
    await outward.allow(user.uid, target);
    const [setpriv = "", ...args] = asUser(user);
    expect(await run(setpriv, [...args, "perl", "-e", READ, port])).toBe("hello");
    expect([await reach(other, target), await reach(user, store)]).toEqual([REFUSED, REFUSED]);
    // What is allowed stays so while the rules are made anew.
    await outward.set(() => [user.uid, other.uid]);
    expect(await reach(user, target)).toBe("reached");
  } finally {
    server.close();
  }
});

it("answers those who come to it: a target of migrations", async () => {
  await outward.confine(user.uid);
  const LISTEN = `use Socket; $|=1; socket(my $s,PF_INET,SOCK_STREAM,0); bind($s,pack_sockaddr_in(0,INADDR_LOOPBACK)) or die; listen($s,1);
    print((unpack_sockaddr_in(getsockname($s)))[0], "\\n"); accept(my $c,$s); syswrite($c,"welcome")`;
  const [setpriv = "", ...args] = asUser(user);
  const listener = spawn(setpriv, [...args, "perl", "-e", LISTEN], { stdio: ["ignore", "pipe", "inherit"] });
  const [port] = await once(listener.stdout, "data");
  expect(await run("perl", ["-e", READ, String(port).trim()])).toBe("welcome");
});

it("comes back when somebody took the rules away, forgets who runs no more, and is removed with the rest", async () => {
  const table = outwardTable(folder);
  for (const { uid } of [user, other]) await outward.confine(uid);
  await run("nft", ["flush", "chain", "inet", table, "output"]);
  expect(await reach(user, store)).toBe("reached");
  await outward.set(() => [user.uid]);
  expect(await reach(user, store)).toBe(REFUSED);
  expect(await reach(other, store)).toBe("reached");
  await run("nft", ["delete", "table", "inet", table]);
  await outward.confine(other.uid);
  expect(await reach(other, store)).toBe(REFUSED);
  await removeNetworking(folder);
  expect(await succeeds("nft", ["list", "table", "inet", table])).toBe(false);
  expect(await reach(user, store)).toBe("reached");
});

it("refuses an address that is none", () => {
  expect(() => outward.allow(user.uid, "tcp:1.2.3.4:1 }; flush ruleset")).toThrow("is not an address");
});

/** Writes a frame to the tap that it opens, as who it is. */
const FRAME = `
  sysopen(my $tap, "/dev/net/tun", 2) or die "$!";
  ioctl($tap, 0x400454ca, pack("a16 S x22", $ARGV[0], 0x5002)) or die "$!";
  $| = 1; print "open\\n"; <STDIN>;
  syswrite($tap, "\\0" x 10 . pack("H*", $ARGV[1])) or die "$!"; <STDIN>`;

it("a guest's frames reach other hosts through the VXLAN, though its QEMU has the tap open", async () => {
  const lan: Network = {
    apiVersion: "vireo.dev/v1",
    kind: "Network",
    metadata: { name: "outward" },
    spec: { subnet: "10.199.11.0/24", nat: false, mtu: 1450 },
  };
  const box = "vrt-outward";
  const nic = { uid: "one", mac: "52:54:00:0a:00:01", address: "10.199.11.5" };
  const peer = "52:54:00:0a:00:02";
  await run("ip", ["netns", "add", box]);
  try {
    await run("ip", ["link", "add", box, "type", "veth", "peer", "name", "eth0", "netns", box]);
    await run("ip", ["addr", "add", "10.198.9.1/24", "dev", box]);
    await run("ip", ["link", "set", box, "up"]);
    await run("ip", ["-n", box, "addr", "add", "10.198.9.2/24", "dev", "eth0"]);
    await run("ip", ["-n", box, "link", "set", "eth0", "up"]);
    const networking = new Networking({ stateFolder: folder, address: "10.198.9.1" });
    await networking.ensure(lan, ["10.198.9.2"], []);
    const tap = await networking.ensureTap(lan, nic, user);
    await outward.confine(user.uid);
    // Where the other machine is has been learned: what is sent to it is no copy, and the kernel knows whose it was.
    const vxlan = linkName("x", "outward");
    await run("bridge", ["fdb", "add", peer, "dev", vxlan, "master", "static"]);
    await run("bridge", ["fdb", "append", peer, "dev", vxlan, "self", "dst", "10.198.9.2"]);

    const digits = (text: string) => text.replaceAll(":", "");
    const ip = (text: string) => text.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
    const arp = `0001080006040002${digits(nic.mac)}${ip(nic.address).join("")}${digits(peer)}${ip("10.199.11.6").join("")}`;
    const frame = `${digits(peer)}${digits(nic.mac)}0806${arp}`;
    const HEAR = `require("node:dgram").createSocket("udp4").bind(4789, "10.198.9.2", () => console.log("hears"))
      .on("message", (all) => all.toString("hex").includes("${frame}") && console.log("heard"))`;
    const arrives = async () => {
      const hearing = spawn("ip", ["netns", "exec", box, process.execPath, "-e", HEAR]);
      const [setpriv = "", ...args] = asUser(user);
      const guest = spawn(setpriv, [...args, "perl", "-e", FRAME, tap, frame]);
      try {
        let said = "";
        hearing.stdout.on("data", (text) => {
          said += text;
        });
        await Promise.all([once(hearing.stdout, "data"), once(guest.stdout, "data")]);
        const before = await refusals();
        guest.stdin.write("\n");
        // One or the other becomes of it.
        await expect.poll(async () => said.includes("heard") || (await refusals()) > before).toBe(true);
        return said.includes("heard");
      } finally {
        for (const child of [hearing, guest]) child.kill("SIGKILL");
        await Promise.all([hearing, guest].map((child) => child.exitCode ?? once(child, "exit")));
      }
    };
    expect(await arrives()).toBe(true);
    // It is the mark by which it is let through.
    await run("nft", ["flush", "chain", "bridge", tableOf("outward"), "postrouting"]);
    expect(await arrives()).toBe(false);
  } finally {
    await run("ip", ["netns", "del", box]);
  }
});

/** ICMP that the kernel has sent for what was refused. */
async function refusals(): Promise<number> {
  const counters = await run("nstat", ["-asz", "IcmpOutDestUnreachs"]);
  return Number(/IcmpOutDestUnreachs\s+(\d+)/.exec(counters)?.[1] ?? 0);
}
