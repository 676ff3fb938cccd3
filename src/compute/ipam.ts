/**
 * Which MAC and address each interface of a machine gets. Pure. What was given once is kept for the machine's life, running or
 * not; an address is free only when no machine has it.
 *
 * An address that a machine had rests for as long as there are others: its neighbours would send to the MAC of that machine until they forget it (seen: 36 s
 * between Linux guests).
 *
 * Of a subnet these are never given: the network's own and the broadcast address, the first (gateway, DHCP) and the second
 * (kept for Vireo: the leg of the machine that `vireo up` runs on).
 */

import { createHash } from "node:crypto";
import { addressToNumber, numberToAddress, parseSubnet } from "../resource/subnet.ts";

export interface Interface {
  network: string;
  mac: string;
  address: string;
  /** Where the guest finds it (changes/places.ts). */
  port?: number;
}

/** Of a Network: its name and spec.subnet. */
export interface Range {
  network: string;
  subnet: string;
}

/** Why no address could be given; the text is for users. */
export class NoAddress extends Error {}

const RESERVED = 3;

/** First address that may be given, and how many there are. */
export function usableRange(subnet: string): { first: number; count: number } {
  const { base, prefixLength } = parseSubnet(subnet);
  return { first: base + RESERVED, count: Math.max(0, 2 ** (32 - prefixLength) - RESERVED - 1) };
}

/**
 * A MAC of QEMU's prefix from the machine's uid and the number of the interface: 24 bits, so that with thousands of
 * machines two would meet; then the next try differs.
 */
export function macFor(uid: string, index: number, used: ReadonlySet<string>): string {
  for (let attempt = 0; ; attempt++) {
    const hash = createHash("sha256").update(`${uid}/${index}/${attempt}`).digest("hex");
    const mac = `52:54:00:${hash.slice(0, 2)}:${hash.slice(2, 4)}:${hash.slice(4, 6)}`;
    if (!used.has(mac)) return mac;
  }
}

/**
 * The interfaces of a machine: those it has already for its networks, and new ones for networks it was not on.
 * @param resting what machines had that are gone, the longest gone first; given when there is no other
 * @throws NoAddress when a subnet is full.
 */
export function allocateInterfaces(
  uid: string,
  networks: readonly Range[],
  kept: readonly Interface[],
  taken: Iterable<Interface>,
  resting: readonly Interface[] = [],
): Interface[] {
  const macs = new Set(kept.map((i) => i.mac));
  const addresses = new Map<string, Set<number>>();
  const takenOf = (network: string) => {
    const set = addresses.get(network) ?? new Set<number>();
    addresses.set(network, set);
    return set;
  };
  for (const { network, mac, address } of taken) {
    macs.add(mac);
    takenOf(network).add(addressToNumber(address));
  }
  return networks.map(({ network, subnet }, index) => {
    const old = kept.find((i) => i.network === network);
    if (old) return old;
    const { first, count } = usableRange(subnet);
    const set = takenOf(network);
    const rests = resting.flatMap((i) => (i.network === network ? [addressToNumber(i.address)] : []));
    const isFree = (number: number) => number >= first && number < first + count && !set.has(number);
    const number = lowest(first, count, new Set([...set, ...rests])) ?? rests.find(isFree);
    if (number !== undefined) {
      set.add(number);
      const mac = macFor(uid, index, macs);
      macs.add(mac);
      return { network, mac, address: numberToAddress(number) };
    }
    throw new NoAddress(
      `network ${network} has no free address: all ${count} of ${subnet} are given to machines; delete machines or make another network`,
    );
  });
}

function lowest(first: number, count: number, taken: ReadonlySet<number>): number | undefined {
  for (let number = first; number < first + count; number++) if (!taken.has(number)) return number;
  return undefined;
}
