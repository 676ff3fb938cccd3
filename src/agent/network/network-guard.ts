/**
 * Keeps machines from speaking as others: what comes out of a NIC's tap passes only with the MAC and the address that the NIC was given. One nftables
 * table of the bridge family in this namespace, with sets by tap, so that a NIC is one atomic change however many there are:
 *
 *   tap's frame ─► its MAC? ─► RARP (QEMU, where a machine is after a move): passes
 *                         ├─► ARP: of its own MAC and address, or a probe (RFC 5227)
 *                         ├─► DHCP: as a client, for its own MAC; never as a server
 *                         ├─► IPv4: from its own address
 *                         ├─► IPv6: from the link-local address of its MAC (networks have no other); no router's advertisement, no neighbour's of
 *                         │   another's address; with headers before them neither, which would hide them (RFC 7113)
 *                         └─► anything else: dropped (tagged VLANs and spanning tree, too)
 *
 * What comes to a machine is not looked at: it was, where it came from.
 */
import { createHash } from "node:crypto";
import { run, succeeds } from "../../system/run.ts";

export interface GuardedNic {
  tap: string;
  mac: string;
  address: string;
}

/** By name: its type, and the element of a NIC. Raw ones: the target and the link-layer address of a neighbour's advertisement, the client of DHCP. */
const SETS: Readonly<Record<string, { type: string; of: (nic: GuardedNic) => string }>> = {
  taps: { type: "type ifname", of: ({ tap }) => `"${tap}"` },
  macs: { type: "type ifname . ether_addr", of: ({ tap, mac }) => `"${tap}" . ${mac}` },
  addresses: { type: "type ifname . ipv4_addr", of: ({ tap, address }) => `"${tap}" . ${address}` },
  senders: {
    type: "type ifname . ether_addr . ipv4_addr",
    of: ({ tap, mac, address }) => `"${tap}" . ${mac} . ${address}`,
  },
  clients: { type: "typeof iifname . @th,288,48", of: ({ tap, mac }) => `"${tap}" . ${rawMac(mac)}` },
  locals: { type: "type ifname . ipv6_addr", of: ({ tap, mac }) => `"${tap}" . ${linkLocal(mac)}` },
  targets: {
    type: "typeof iifname . @nh,384,128",
    of: ({ tap, mac }) => `"${tap}" . 0x${linkLocalDigits(mac)}`,
  },
  neighbours: { type: "typeof iifname . @nh,528,48", of: ({ tap, mac }) => `"${tap}" . ${rawMac(mac)}` },
};

const RULES = `
    iifname != @taps accept
    iifname . ether saddr != @macs drop
    ether type 0x8035 accept
    ether type arp arp htype 1 arp ptype ip arp plen 4 arp hlen 6 iifname . arp saddr ether . arp saddr ip @senders accept
    ether type arp arp htype 1 arp ptype ip arp plen 4 arp hlen 6 arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept
    ether type ip udp sport 68 udp dport 67 iifname . @th,288,48 != @clients drop
    ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
    ether type ip iifname . ip saddr != @addresses drop
    ether type ip udp sport 67 drop
    ether type ip accept
    ether type ip6 icmpv6 type { nd-router-advert, nd-redirect } drop
    ether type ip6 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } ip6 nexthdr != ipv6-icmp drop
    ether type ip6 udp sport { 547 } drop
    ether type ip6 ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } accept
    ether type ip6 iifname . ip6 saddr != @locals drop
    ether type ip6 icmpv6 type nd-neighbor-advert iifname . @nh,384,128 != @targets drop
    ether type ip6 icmpv6 type nd-neighbor-advert ip6 length > 24 iifname . @nh,528,48 != @neighbours drop
    ether type ip6 accept
    drop`;

const digitsOf = (mac: string) => mac.replaceAll(":", "").toLowerCase();
const rawMac = (mac: string) => `0x${digitsOf(mac)}`;

/** RFC 4291, appendix A: fe80:: and the modified EUI-64. 32 digits. */
function linkLocalDigits(mac: string): string {
  const digits = digitsOf(mac);
  const first = (Number.parseInt(digits.slice(0, 2), 16) ^ 2).toString(16).padStart(2, "0");
  return `fe80000000000000${first}${digits.slice(2, 6)}fffe${digits.slice(6)}`;
}

/** As text. */
export const linkLocal = (mac: string): string => linkLocalDigits(mac).replaceAll(/(.{4})(?!$)/g, "$1:");

/** The name of its table: one for each installation in a namespace. */
export const guardTable = (stateFolder: string): string =>
  `vireo_guard_${createHash("sha256").update(stateFolder).digest("hex").slice(0, 8)}`;

export class NetworkGuard {
  readonly #table: string;
  readonly #comment: string;
  /** By tap. What is to be guarded; from the estate, so that it may be forgotten. */
  readonly #nics = new Map<string, GuardedNic>();
  /** Whether the table is as this process made it. */
  #made = false;

  /** @param comment by which the table is known as its installation's */
  constructor(stateFolder: string, comment: string) {
    this.#table = guardTable(stateFolder);
    this.#comment = comment;
  }

  /** From now on; before its tap is attached to the bridge. */
  async add(nic: GuardedNic): Promise<void> {
    const known = this.#nics.get(nic.tap);
    this.#nics.set(nic.tap, nic);
    const elements = Object.entries(SETS).map(
      ([set, { of }]) => `add element bridge ${this.#table} ${set} { ${of(nic)} }`,
    );
    const sameAsBefore = known?.mac === nic.mac && known.address === nic.address;
    const added = this.#made && (!known || sameAsBefore) && (await succeeds("nft", [elements.join("; ")]));
    // No table: this is the first, or somebody took it away.
    if (!added) await this.#write();
  }

  /** No-op when it is not guarded. */
  async remove(tap: string): Promise<void> {
    const nic = this.#nics.get(tap);
    if (!nic) return;
    this.#nics.delete(tap);
    const elements = Object.entries(SETS).map(
      ([set, { of }]) => `delete element bridge ${this.#table} ${set} { ${of(nic)} }`,
    );
    if (!(await succeeds("nft", [elements.join("; ")]))) await this.#write();
  }

  /** These and no others; the table is written anew in one transaction, whatever somebody did to it. */
  async set(nics: readonly GuardedNic[]): Promise<void> {
    this.#nics.clear();
    for (const nic of nics) this.#nics.set(nic.tap, nic);
    await this.#write();
  }

  get nics(): GuardedNic[] {
    return [...this.#nics.values()];
  }

  async #write(): Promise<void> {
    const nics = [...this.#nics.values()];
    const sets = Object.entries(SETS).map(([name, { type, of }]) => {
      const elements = nics.length > 0 ? `elements = { ${nics.map(of).join(", ")} }` : "";
      return `set ${name} { ${type}; ${elements} }`;
    });
    const table = `table bridge ${this.#table}`;
    const input = `
      ${table}
      delete ${table}
      ${table} {
        comment "${this.#comment}"
        ${sets.join("\n        ")}
        chain guard {
          type filter hook prerouting priority -300; policy accept;${RULES}
        }
      }
    `;
    this.#made = false;
    await run("nft", ["-f", "-"], { input });
    this.#made = true;
  }
}
