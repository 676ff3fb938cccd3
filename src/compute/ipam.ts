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

/** What machines have, kept up as they come and go: none is looked for among all. Some may have the same for a while, and each is taken out as often as it came. */
export class Taken {
  readonly #addresses = new Map<string, Map<number, number>>();
  readonly #macs = new Map<string, number>();

  constructor(interfaces: Iterable<Interface> = []) {
    for (const one of interfaces) this.add(one);
  }

  add({ network, mac, address }: Interface): void {
    const numbers = this.#addresses.get(network) ?? new Map<number, number>();
    this.#addresses.set(network, numbers);
    change(numbers, addressToNumber(address), 1);
    change(this.#macs, mac, 1);
  }

  delete({ network, mac, address }: Interface): void {
    const numbers = this.#addresses.get(network);
    if (numbers) change(numbers, addressToNumber(address), -1);
    change(this.#macs, mac, -1);
  }

  hasAddress(network: string, number: number): boolean {
    return this.#addresses.get(network)?.has(number) ?? false;
  }

  hasMac(mac: string): boolean {
    return this.#macs.has(mac);
  }
}

function change<K>(counts: Map<K, number>, key: K, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

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
export function macFor(uid: string, index: number, isUsed: (mac: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const hash = createHash("sha256").update(`${uid}/${index}/${attempt}`).digest("hex");
    const mac = `52:54:00:${hash.slice(0, 2)}:${hash.slice(2, 4)}:${hash.slice(4, 6)}`;
    if (!isUsed(mac)) return mac;
  }
}

/**
 * The interfaces of a machine: those it has already for its networks, and new ones for networks it was not on.
 * @param taken by others
 * @param resting what machines had that are gone, the longest gone first; given when there is no other
 * @throws NoAddress when a subnet is full.
 */
export function allocateInterfaces(
  uid: string,
  networks: readonly Range[],
  kept: readonly Interface[],
  taken: Taken,
  resting: readonly Interface[] = [],
): Interface[] {
  const macs = new Set(kept.map((i) => i.mac));
  return networks.map(({ network, subnet }, index) => {
    const old = kept.find((i) => i.network === network);
    if (old) return old;
    const { first, count } = usableRange(subnet);
    const rests = resting.flatMap((i) => (i.network === network ? [addressToNumber(i.address)] : []));
    const number = numberFor(first, count, (one) => taken.hasAddress(network, one), rests);
    if (number === undefined)
      throw new NoAddress(
        `network ${network} has no free address: all ${count} of ${subnet} are given to machines; delete machines or make another network`,
      );
    const mac = macFor(uid, index, (one) => macs.has(one) || taken.hasMac(one));
    macs.add(mac);
    return { network, mac, address: numberToAddress(number) };
  });
}

/** The lowest that nobody has and that does not rest; else the one that rests the longest. */
function numberFor(
  first: number,
  count: number,
  isTaken: (number: number) => boolean,
  rests: readonly number[],
): number | undefined {
  const resting = new Set(rests);
  for (let number = first; number < first + count; number++)
    if (!isTaken(number) && !resting.has(number)) return number;
  return rests.find((number) => number >= first && number < first + count && !isTaken(number));
}
