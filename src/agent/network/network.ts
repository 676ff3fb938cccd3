/**
 * The machines' networks on this host. Everything acts in the current network namespace and is named so that leftovers are known:
 *
 *   vrb-NET  bridge with the gateway's address: the same address and MAC on every host, so a machine that moves keeps its gateway
 *   vrx-NET  VXLAN to the other hosts, a port of the bridge
 *   vrt…     one tap a NIC, what may come out of it (network-guard.ts), and how much (network-limits.ts)
 *
 * Each carries the state folder of its agent (the links as their alias, the tables in their comment): several installations may be up
 * in one namespace, and each removes only its own.
 *
 * Frames come out of the VXLAN from the addresses of the other hosts alone. What belongs to each host alone must not cross the VXLAN: frames from and to the gateway's MAC, ARP for its address, DHCP.
 * RARP must: with it QEMU tells all hosts where a machine is after it moved.
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { isDeepStrictEqual } from "node:util";
import type { Network } from "../../compute/networks/kinds.ts";
import { gatewayOf, parseSubnet, vniOf } from "../../resource/subnet.ts";
import { run, succeeds } from "../../system/run.ts";
import { Serial } from "../../system/serial.ts";
import { bothOf } from "../both.ts";
import { PrepareError } from "../prepare-error.ts";
import type { Trace } from "../traces.ts";
import { Dnsmasq, type Reservation } from "./network-dhcp.ts";
import { type GuardedNic, NetworkGuard } from "./network-guard.ts";
import { hasTaps, networkTraces, removeLink, removeTable } from "./network-leftovers.ts";
import { forgetTap, limitTap, type TapLimits, unlimited } from "./network-limits.ts";
import { exists, linkName, ownerMark, ownerOf, tableComment, tableOf, tapName } from "./network-names.ts";
import { TUNNEL_MARK } from "./outward.ts";

/** Locally administered; made from the network's name, so the same on each host. */
function gatewayMac(name: string): string {
  const hash = createHash("sha256").update(`gateway ${name}`).digest("hex");
  return `02:76:${hash.slice(0, 2)}:${hash.slice(2, 4)}:${hash.slice(4, 6)}:${hash.slice(6, 8)}`;
}

/** Marks a link as of this state folder. @throws Error when it is another's */
async function claim(link: string, stateFolder: string): Promise<void> {
  const owner = ownerOf(link);
  const mine = ownerMark(stateFolder);
  if (owner === mine) return;
  // Without a mark: its maker was ended before he could write it.
  if (owner !== "")
    throw new PrepareError(
      `the link ${link} belongs to the installation in ${owner.replace("vireo ", "")}; ` +
        "give the network another name and subnet, or run `vireo down --keep` on that installation",
    );
  await run("ip", ["link", "set", "dev", link, "alias", mine]);
}

export class Networking {
  readonly #stateFolder: string;
  readonly #address: string;
  /** VXLAN ends besides the hosts: see the cli's devnet.ts. */
  readonly #extraPeers: readonly string[];
  readonly #dnsmasq = new Map<string, Dnsmasq>();
  readonly #guard: NetworkGuard;
  /** By tap. What it was last limited to; of one that is not here, nobody knows. */
  readonly #limits = new Map<string, TapLimits>();
  /** By network: what it was last made for. */
  readonly #made = new Map<string, string>();
  /** One change at a time: two of them at once would both find a link missing and both make it. */
  readonly #changes = new Serial();

  constructor(options: { stateFolder: string; address: string; extraPeers?: readonly string[] }) {
    this.#stateFolder = options.stateFolder;
    this.#address = options.address;
    this.#extraPeers = options.extraPeers ?? [];
    this.#guard = new NetworkGuard(options.stateFolder, tableComment(options.stateFolder));
  }

  /** Makes the network's bridge, VXLAN and DHCP here, or brings them in line with `peers` (addresses of all hosts) and `reservations`. */
  ensure(network: Network, peers: readonly string[], reservations: readonly Reservation[]): Promise<void> {
    return this.#changes.run(() => this.#ensure(network, peers, reservations));
  }

  /** As `ensure`, but takes a network that this agent has made for the same as it made it: nothing but DHCP is looked after. */
  ensureKnown(
    network: Network,
    peers: readonly string[],
    reservations: readonly Reservation[],
  ): Promise<void> {
    return this.#changes.run(async () => {
      const { name } = network.metadata;
      const isMade = this.#made.get(name) === madeFor(network, peers) && exists(linkName("b", name));
      await (isMade
        ? this.#dnsmasq.get(name)?.ensure(reservations)
        : this.#ensure(network, peers, reservations));
    });
  }

  async #ensure(
    network: Network,
    peers: readonly string[],
    reservations: readonly Reservation[],
  ): Promise<void> {
    const { name } = network.metadata;
    const { spec } = network;
    const subnet = parseSubnet(spec.subnet);
    const [bridge, vxlan] = [linkName("b", name), linkName("x", name)];
    if (!exists(bridge)) {
      await run("ip", [
        "link",
        "add",
        bridge,
        "address",
        gatewayMac(name),
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
      ]);
      await run("ip", ["link", "set", bridge, "mtu", String(spec.mtu)]);
    }
    await claim(bridge, this.#stateFolder);
    await run("ip", ["addr", "replace", `${gatewayOf(subnet)}/${subnet.prefixLength}`, "dev", bridge]);
    await run("ip", ["link", "set", bridge, "up"]);
    writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
    const others = [...new Set([...peers, ...this.#extraPeers])].filter(
      (peer) => peer !== this.#address && peer !== "127.0.0.1",
    );
    // With the last other host gone, what goes to everybody must not go on to its address.
    if (others.length > 0 || exists(vxlan))
      await this.#ensureVxlan(bridge, vxlan, vniOf(spec), spec.mtu, others);
    const tunnel = { vni: vniOf(spec), peers: others };
    await this.#ensureRules(name, bridge, vxlan, spec.subnet, spec.nat, gatewayOf(subnet), tunnel);
    const dnsmasq =
      this.#dnsmasq.get(name) ??
      new Dnsmasq({ stateFolder: this.#stateFolder, network: name, bridge, subnet, mtu: spec.mtu });
    this.#dnsmasq.set(name, dnsmasq);
    await dnsmasq.ensure(reservations);
    this.#made.set(name, madeFor(network, peers));
  }

  async #ensureVxlan(
    bridge: string,
    vxlan: string,
    vni: number,
    mtu: number,
    peers: readonly string[],
  ): Promise<void> {
    if (!exists(vxlan)) {
      await run("ip", [
        "link",
        "add",
        vxlan,
        "type",
        "vxlan",
        "id",
        String(vni),
        "dstport",
        "4789",
        "local",
        this.#address,
      ]);
      await run("ip", ["link", "set", vxlan, "mtu", String(mtu), "master", bridge]);
    }
    await claim(vxlan, this.#stateFolder);
    await run("ip", ["link", "set", vxlan, "up"]);
    // Head-end replication: what goes to everybody (ARP, RARP) is sent to each peer.
    const entries = await run("bridge", ["fdb", "show", "dev", vxlan]);
    const now = new Set(
      [...entries.matchAll(/^00:00:00:00:00:00 dst (\S+)/gm)].map((match) => match[1] ?? ""),
    );
    for (const peer of peers)
      if (!now.has(peer))
        await run("bridge", ["fdb", "append", "00:00:00:00:00:00", "dev", vxlan, "dst", peer]);
    for (const gone of now)
      if (!peers.includes(gone))
        await succeeds("bridge", ["fdb", "del", "00:00:00:00:00:00", "dev", vxlan, "dst", gone]);
  }

  /** One nft transaction a network: flushed and filled at once, so there is never a moment without the rules. */
  async #ensureRules(
    name: string,
    bridge: string,
    vxlan: string,
    subnet: string,
    nat: boolean,
    gateway: string,
    { vni, peers }: { vni: number; peers: readonly string[] },
  ): Promise<void> {
    const mac = gatewayMac(name);
    const table = tableOf(name);
    // By VNI (bits 96 to 120 of UDP): other installations may have networks and hosts of their own. Loose fragments never come here.
    const others = peers.filter(isIPv4);
    const strangers = others.length > 0 ? `ip saddr != { ${others.join(", ")} }` : "";
    const rules = `
      table bridge ${table}
      delete table bridge ${table}
      table bridge ${table} {
        comment "${tableComment(this.#stateFolder)}"
        chain own {
          ether saddr ${mac} drop
          ether daddr ${mac} drop
          ether type arp arp daddr ip ${gateway} drop
          ether type arp arp saddr ip ${gateway} drop
          ether type ip udp dport { 67, 68 } drop
        }
        chain forward {
          type filter hook forward priority 0; policy accept;
          oifname "${vxlan}" jump own
          iifname "${vxlan}" jump own
        }
        chain output {
          type filter hook output priority 0; policy accept;
          oifname "${vxlan}" jump own
        }
        chain input {
          type filter hook input priority 0; policy accept;
          iifname "${vxlan}" jump own
        }
        chain postrouting {
          type filter hook postrouting priority 0; policy accept;
          oifname "${vxlan}" meta mark set meta mark | ${TUNNEL_MARK}
        }
      }
      table ip ${table}
      delete table ip ${table}
      table ip ${table} {
        comment "${tableComment(this.#stateFolder)}"
        chain tunnel {
          type filter hook input priority filter; policy accept;
          udp dport 4789 @th,96,24 ${vni} ${strangers} drop
        }
        chain post {
          type nat hook postrouting priority srcnat; policy accept;
          ${nat ? `ip saddr ${subnet} ip daddr != ${subnet} oifname != "${bridge}" masquerade` : ""}
        }
      }
    `;
    await run("nft", ["-f", "-"], { input: rules });
  }

  /**
   * A tap of this user for one run of a machine (the uid of its Instance), attached to the network's bridge. Nothing but the NIC's own MAC and
   * address gets out of it, unless the network says so. @returns its name
   */
  async ensureTap(
    network: Network,
    ofRun: { uid: string; mac: string; address: string },
    user: { uid: number; gid: number },
    limits: TapLimits = {},
  ): Promise<string> {
    return this.#changes.run(async () => {
      const tap = tapName(ofRun);
      const isNew = !exists(tap);
      // Debian's udev makes it 0666; without udev it may be 0600. Opening it gives nobody anything without a tap of his own.
      await chmod("/dev/net/tun", 0o666).catch(() => undefined);
      const { mac, address } = ofRun;
      const guarding = isGuarded(network) ? this.#guard.add({ tap, mac, address }) : this.#guard.remove(tap);
      await bothOf(guarding, this.#claimedTap(tap, user.uid));
      await run("ip", [
        "link",
        "set",
        tap,
        "mtu",
        String(network.spec.mtu),
        "master",
        linkName("b", network.metadata.name),
        "up",
      ]);
      // One that went without us took its limits along.
      const isBare = isNew && !this.#limits.delete(tap);
      await this.#limit(tap, limits, isBare);
      return tap;
    });
  }

  async #limit(tap: string, limits: TapLimits, isNew = false): Promise<void> {
    if (isDeepStrictEqual(this.#limits.get(tap), limits) && !isNew) return;
    this.#limits.delete(tap);
    await limitTap(tap, limits, tableComment(this.#stateFolder), isNew);
    this.#limits.set(tap, limits);
  }

  async #claimedTap(tap: string, uid: number): Promise<void> {
    if (exists(tap)) return claim(tap, this.#stateFolder);
    const mark = ownerMark(this.#stateFolder);
    const add = `tuntap add dev ${tap} mode tap user ${uid} vnet_hdr`;
    const alias = `link set dev ${tap} alias ${mark.includes('"') ? `'${mark}'` : `"${mark}"`}`;
    await run("ip", ["-batch", "-"], { input: `${add}\n${alias}\n` });
  }

  async removeTap(ofRun: { uid: string; mac: string }): Promise<void> {
    const tap = tapName(ofRun);
    await this.#changes.run(async () => {
      if (exists(tap)) await succeeds("ip", ["link", "del", tap]);
      const { send } = this.#limits.get(tap) ?? { send: 0 };
      this.#limits.delete(tap);
      if (send !== undefined) await forgetTap(tap);
      await this.#guard.remove(tap);
    });
  }

  /**
   * Brings the guards and limits of all taps here in line: after a start of the agent, a change of a network, or somebody's `nft flush`.
   * @param nics of the runs on this host, whether or not they have a tap by now; those made meanwhile stay guarded
   */
  async guard(nics: readonly (GuardedNic & { network: Network; limits?: TapLimits })[]): Promise<void> {
    await this.#changes.run(async () => {
      const told = new Set(nics.map(({ tap }) => tap));
      const others = this.#guard.nics.filter(({ tap }) => !told.has(tap));
      const here = [...nics.filter(({ network }) => isGuarded(network)), ...others];
      await this.#guard.set(here.filter(({ tap }) => exists(tap)));
      const limits = new Map(
        nics.flatMap(({ tap, limits }) => (limits && exists(tap) ? [[tap, limits] as const] : [])),
      );
      for (const tap of await unlimited(limits)) {
        this.#limits.delete(tap);
        await this.#limit(tap, limits.get(tap) ?? {});
      }
    });
  }

  /** What this installation has made here. */
  async traces(): Promise<Trace[]> {
    const traces = await networkTraces(this.#stateFolder);
    return traces.map((trace) => ({ ...trace, remove: () => this.#changes.run(() => trace.remove()) }));
  }

  /** A network that is no more, unless a machine has a tap on it still. */
  async remove(name: string): Promise<void> {
    await this.#changes.run(async () => {
      this.#dnsmasq.delete(name);
      this.#made.delete(name);
      const [bridge, vxlan] = [linkName("b", name), linkName("x", name)];
      if (hasTaps(bridge)) return;
      Dnsmasq.stop(this.#stateFolder, name);
      for (const link of [vxlan, bridge]) await removeLink(this.#stateFolder, link);
      for (const family of ["ip", "bridge"]) await removeTable(this.#stateFolder, family, tableOf(name));
    });
  }
}

const isGuarded = ({ spec }: Network) => spec.antiSpoofing ?? true;

const madeFor = ({ spec }: Network, peers: readonly string[]) => JSON.stringify([spec, peers]);
