/** Networks of several installations in one namespace. Needs root. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Network } from "../../compute/networks/kinds.ts";
import { vniOf } from "../../resource/subnet.ts";
import { run, succeeds } from "../../system/run.ts";
import { Networking } from "./network.ts";
import { removeNetworking } from "./network-leftovers.ts";
import { linkName } from "./network-names.ts";

const folders = [1, 2].map(() => mkdtempSync(join(tmpdir(), "vireo-network-")));
const [ours = "", theirs = ""] = folders;
// dnsmasq reads its file as a user of its own.
for (const folder of folders) chmodSync(folder, 0o755);
afterAll(async () => {
  for (const folder of folders) {
    await removeNetworking(folder);
    rmSync(folder, { recursive: true, force: true });
  }
});

const network = (name: string, subnet: string): Network => ({
  apiVersion: "vireo.dev/v1",
  kind: "Network",
  metadata: { name },
  spec: { subnet, nat: true, mtu: 1450 },
});
let clients = 0;
/** The address that a machine with this MAC gets on the bridge. */
async function addressOf(mac: string, bridge: string): Promise<string> {
  // Another one each time: the kernel takes its time to remove one.
  const namespace = `vrt-${clients++}`;
  await run("ip", ["netns", "add", namespace]);
  try {
    await run("ip", ["link", "add", namespace, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
    await run("ip", ["link", "set", namespace, "master", bridge, "up"]);
    await run("ip", ["-n", namespace, "link", "set", "eth0", "up"]);
    await run("ip", ["-n", namespace, "route", "add", "default", "dev", "eth0"]);
    const client = join(import.meta.dirname, "../testing/dhcp-client.ts");
    return (await run("ip", ["netns", "exec", namespace, process.execPath, client, mac])).trim();
  } finally {
    await run("ip", ["netns", "del", namespace]);
  }
}
const links = async () => run("ip", ["-o", "link", "show"]);
const user = { uid: 200_001, gid: 200_000 };

describe("networks of two installations in one namespace", () => {
  it("are removed each by its own `down` alone, with their taps, tables and DHCP", async () => {
    const [mine, other] = [network("claim-a", "10.199.1.0/24"), network("claim-b", "10.199.2.0/24")];
    const here = new Networking({ stateFolder: ours, address: "127.0.0.1" });
    const there = new Networking({ stateFolder: theirs, address: "127.0.0.1" });
    await here.ensure(mine, ["192.0.2.1"], []);
    await there.ensure(other, [], []);
    const tap = await here.ensureTap(
      mine,
      { uid: "a", mac: "52:54:00:c1:a1:01", address: "10.199.1.3" },
      user,
    );
    const otherTap = await there.ensureTap(
      other,
      { uid: "b", mac: "52:54:00:c1:a1:02", address: "10.199.2.3" },
      user,
    );
    expect(await links()).toMatch(/vrx-claim-a/);

    await removeNetworking(ours);
    const left = await links();
    expect(left).not.toMatch(/claim-a/);
    expect(left).not.toContain(tap);
    expect(left).toMatch(/vrb-claim-b/);
    expect(left).toContain(otherTap);
    expect(await succeeds("nft", ["list", "table", "ip", "vireo_claim_a"])).toBe(false);
    expect(await succeeds("nft", ["list", "table", "bridge", "vireo_claim_b"])).toBe(true);

    await removeNetworking(theirs);
    expect(await links()).not.toMatch(/claim-b/);
    expect(await succeeds("nft", ["list", "table", "bridge", "vireo_claim_b"])).toBe(false);
  });

  it("must not have the same name: the second is refused, with the way out", async () => {
    const shared = network("claim-c", "10.199.3.0/24");
    await new Networking({ stateFolder: ours, address: "127.0.0.1" }).ensure(shared, [], []);
    const second = new Networking({ stateFolder: theirs, address: "127.0.0.1" });
    await expect(second.ensure(shared, [], [])).rejects.toThrow(
      `the link vrb-claim-c belongs to the installation in ${ours}; give the network another name and subnet, or run \`vireo down --keep\``,
    );
    await removeNetworking(theirs);
    expect(await links()).toMatch(/vrb-claim-c/);
  });
});

it("a network of an older installation, whose name has a dot, has rules of its own", async () => {
  const here = new Networking({ stateFolder: ours, address: "127.0.0.1" });
  await here.ensure(network("claim-f", "10.199.6.0/24"), [], []);
  await here.ensure(network("claim.f", "10.199.7.0/24"), [], []);
  const rules = (table: string) => run("nft", ["list", "table", "ip", table]);
  expect(await rules("vireo_claim_f")).toContain("ip saddr 10.199.6.0/24");
  expect(await rules("vireo_claim.f")).toContain("ip saddr 10.199.7.0/24");
});

it("a machine gets the address of one that is gone", async () => {
  const lan = network("claim-d", "10.199.4.0/24");
  const here = new Networking({ stateFolder: ours, address: "127.0.0.1" });
  const reserve = (mac: string, hostname: string) =>
    here.ensure(lan, [], [{ mac, address: "10.199.4.3", hostname }]);
  const [old, other] = ["52:54:00:c1:a1:03", "52:54:00:c1:a1:04"];
  await reserve(old, "old");
  expect(await addressOf(old, "vrb-claim-d")).toBe("10.199.4.3");
  expect(await addressOf(other, "vrb-claim-d")).toBe("none");
  await reserve(other, "other");
  expect(await addressOf(other, "vrb-claim-d")).toBe("10.199.4.3");
  expect(await addressOf(old, "vrb-claim-d")).toBe("none");
});

describe("the tunnel between hosts", () => {
  const box = "vrt-underlay";
  afterAll(async () => {
    await succeeds("ip", ["netns", "del", box]);
  });

  /** A VXLAN packet with an Ethernet frame to everybody, from one of the addresses of another box on the underlay. */
  const send = (from: string, vni: number) =>
    run("ip", [
      ...["netns", "exec", box, process.execPath, "-e"],
      `const frame = Buffer.concat([Buffer.alloc(6, 255), Buffer.from("02aabbccddee88b5", "hex"), Buffer.alloc(46)]);
       const head = Buffer.from([8, 0, 0, 0, ...[16, 8, 0].map((bits) => (${vni} >> bits) & 255), 0]);
       const socket = require("node:dgram").createSocket("udp4");
       socket.bind(0, "${from}", () => socket.send(Buffer.concat([head, frame]), 4789, "10.198.7.1", () => socket.close()));`,
    ]);

  it("takes frames from the other hosts' addresses, and from nobody else's, also after they change", async () => {
    const lan = network("claim-e", "10.199.5.0/24");
    const vni = vniOf(lan.spec);
    await run("ip", ["netns", "add", box]);
    await run("ip", ["link", "add", box, "type", "veth", "peer", "name", "eth0", "netns", box]);
    await run("ip", ["addr", "add", "10.198.7.1/24", "dev", box]);
    await run("ip", ["link", "set", box, "up"]);
    for (const address of ["10.198.7.2/24", "10.198.7.66/24"])
      await run("ip", ["-n", box, "addr", "add", address, "dev", "eth0"]);
    await run("ip", ["-n", box, "link", "set", "eth0", "up"]);
    const here = new Networking({ stateFolder: ours, address: "10.198.7.1" });
    await here.ensure(lan, ["10.198.7.2"], []);
    const came = () =>
      Number(readFileSync(`/sys/class/net/${linkName("x", "claim-e")}/statistics/rx_packets`, "utf8"));
    const comes = async (from: string) => {
      const before = came();
      await send(from, vni);
      return came() - before;
    };
    expect(await comes("10.198.7.2")).toBe(1);
    expect(await comes("10.198.7.66")).toBe(0);
    await here.ensure(lan, ["10.198.7.66"], []);
    expect(await comes("10.198.7.66")).toBe(1);
    expect(await comes("10.198.7.2")).toBe(0);
    const sentTo = () => run("bridge", ["fdb", "show", "dev", linkName("x", "claim-e")]);
    expect(await sentTo()).toContain("00:00:00:00:00:00 dst 10.198.7.66");
    await here.ensure(lan, [], []);
    expect(await comes("10.198.7.66")).toBe(0);
    expect(await sentTo()).not.toContain("00:00:00:00:00:00 dst");
  });
});
