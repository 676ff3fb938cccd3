/**
 * Several hosts on one machine (`vireo up --hosts N`): a network namespace for each, joined by a bridge that plays the
 * physical network (the underlay). The agents in them run the code of real hosts.
 *
 *      namespace vireo-fast-1      namespace vireo-frugal-1 …
 *        eth0 10.250.K.1             eth0 10.250.K.2
 *           │ veth                      │ veth
 *      ─────┴──────── bridge vrdK ──────┴───────────── 10.250.K.254 (root namespace: API server, NAT outwards,
 *                                                       and `vraK-…`, this machine's own way into the machines' networks)
 *
 * Everything is named with the installation's id, so that `down` removes just what its `up` made.
 */
import { writeFileSync } from "node:fs";
import { run, succeeds } from "../system/run.ts";
import { UserError } from "./user-error.ts";

export interface DevelopmentNetwork {
  /** Name of the bridge in the root namespace. */
  bridge: string;
  /** The /24 without its last number: "10.250.3". */
  prefix: string;
  hosts: { name: string; namespace: string; address: string }[];
}

/** Address of the root namespace in the underlay. */
export function gatewayOf(network: { prefix: string }): string {
  return `${network.prefix}.254`;
}

/** Subnet of the machines' network `default`: one per installation, so that several can be up on one machine. */
export function machinesSubnetOf(network: { prefix: string } | undefined): string {
  return `10.77.${network?.prefix.split(".")[2] ?? 0}.0/24`;
}

/**
 * Finds a K of which 10.250.K.0/24 (the underlay) and 10.77.K.0/24 (the machines) are free here, and names everything;
 * makes nothing yet. Looks from a place of the installation's own, so that two which start together do not meet.
 */
export async function planDevelopmentNetwork(
  id: string,
  hostNames: readonly string[],
): Promise<DevelopmentNetwork> {
  const used = new Set(
    [...(await run("ip", ["-o", "-4", "addr"])).matchAll(/inet 10\.(?:250|77)\.(\d+)\./g)].map((m) =>
      Number(m[1]),
    ),
  );
  const first = Number.parseInt(id || "0", 16);
  const k = Array.from({ length: 256 }, (_, i) => (first + i) % 256).find((i) => !used.has(i));
  if (k === undefined)
    throw new Error(
      "no K is left on this machine of which 10.250.K.0/24 and 10.77.K.0/24 are free; run `vireo down --keep` on an installation",
    );
  return {
    bridge: `vrd${id || "0"}`,
    prefix: `10.250.${k}`,
    hosts: hostNames.map((name, i) => ({
      name,
      namespace: `vireo${id}-${name}`,
      address: `10.250.${k}.${i + 1}`,
    })),
  };
}

/** Makes what is missing; safe to run again. */
export async function ensureDevelopmentNetwork(network: DevelopmentNetwork): Promise<void> {
  const { bridge, prefix } = network;
  if (!(await succeeds("ip", ["link", "show", bridge])))
    await run("ip", ["link", "add", bridge, "type", "bridge"]);
  await run("ip", ["addr", "replace", `${gatewayOf(network)}/24`, "dev", bridge]);
  await run("ip", ["link", "set", bridge, "up"]);
  const namespaces = new Set(
    (await run("ip", ["netns", "list"])).split("\n").map((line) => line.split(" ")[0]),
  );
  for (const [i, host] of network.hosts.entries()) {
    const inside = (...args: string[]) => run("ip", ["-n", host.namespace, ...args]);
    const outer = `${bridge}p${i + 1}`;
    if (!namespaces.has(host.namespace)) await run("ip", ["netns", "add", host.namespace]);
    await inside("link", "set", "lo", "up");
    if (!(await succeeds("ip", ["-n", host.namespace, "link", "show", "eth0"]))) {
      await succeeds("ip", ["link", "del", outer]);
      await run("ip", [
        "link",
        "add",
        outer,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        host.namespace,
      ]);
    }
    await run("ip", ["link", "set", outer, "master", bridge, "up"]);
    await inside("addr", "replace", `${host.address}/24`, "dev", "eth0");
    await inside("link", "set", "eth0", "up");
    await inside("route", "replace", "default", "via", gatewayOf(network));
  }
  writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
  await run("nft", ["add", "table", "ip", `${bridge}_nat`]);
  await run("nft", ["flush", "table", "ip", `${bridge}_nat`]);
  await run("nft", [
    "add",
    "chain",
    "ip",
    `${bridge}_nat`,
    "post",
    "{ type nat hook postrouting priority srcnat ; }",
  ]);
  await run("nft", [
    "add",
    "rule",
    "ip",
    `${bridge}_nat`,
    "post",
    "ip",
    "saddr",
    `${prefix}.0/24`,
    "ip",
    "daddr",
    "!=",
    `${prefix}.0/24`,
    "masquerade",
  ]);
}

/**
 * This machine's own leg in a machines' network: a VXLAN interface with an address of the subnet, so that what runs
 * here reaches the machines wherever they run. The agents know it as one more VXLAN peer.
 */
export async function ensureAccess(
  network: DevelopmentNetwork,
  access: { vni: number; address: string; prefixLength: number; mtu: number },
): Promise<void> {
  const device = `${network.bridge}x${access.vni.toString(36)}`.slice(0, 15);
  const taken = (await run("ip", ["-d", "-o", "link", "show", "type", "vxlan"]))
    .split("\n")
    .find(
      (line) =>
        new RegExp(`vxlan id ${access.vni} .*dstport 4789`).test(line) && !line.includes(`: ${device}:`),
    );
  if (taken)
    throw new UserError(
      `another installation on this machine has a network of the same subnet as ${access.address}/${access.prefixLength} (VXLAN ${access.vni}); ` +
        "give the network another subnet, or run `vireo down --keep` on that installation",
    );
  if (!(await succeeds("ip", ["link", "show", device])))
    await run("ip", [
      "link",
      "add",
      device,
      "type",
      "vxlan",
      "id",
      String(access.vni),
      "dstport",
      "4789",
      "local",
      gatewayOf(network),
      "dev",
      network.bridge,
    ]);
  await run("ip", ["link", "set", device, "mtu", String(access.mtu), "up"]);
  await run("ip", ["addr", "replace", `${access.address}/${access.prefixLength}`, "dev", device]);
  const flood = await run("bridge", ["fdb", "show", "dev", device]);
  for (const host of network.hosts)
    if (!flood.includes(`00:00:00:00:00:00 dst ${host.address} `))
      await run("bridge", ["fdb", "append", "00:00:00:00:00:00", "dev", device, "dst", host.address]);
}

/** Removes the namespaces, the links and the NAT table. What still runs inside must have been stopped before. */
export async function removeDevelopmentNetwork(network: DevelopmentNetwork): Promise<void> {
  for (const host of network.hosts) await succeeds("ip", ["netns", "del", host.namespace]);
  const links = (await run("ip", ["-o", "link", "show", "type", "vxlan"])).matchAll(/^\d+: ([^:@]+)/gm);
  for (const [, name = ""] of links)
    if (name.startsWith(`${network.bridge}x`)) await succeeds("ip", ["link", "del", name]);
  await succeeds("ip", ["link", "del", network.bridge]);
  await succeeds("nft", ["delete", "table", "ip", `${network.bridge}_nat`]);
}
