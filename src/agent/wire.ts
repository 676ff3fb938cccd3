/** The networks that this host is in over its own wires, and not only with its machines: what another host there can hear of it; and which of them what others send it comes over. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { networkOf } from "../resource/subnet.ts";
import { isOwnLink } from "./network/network-names.ts";

/** What a bridge, bond or VLAN is over. */
const lowerOf = (folder: string): string[] =>
  readdirSync(folder).flatMap((entry) => (entry.startsWith("lower_") ? entry.slice("lower_".length) : []));

/** It has a device, or is a bridge, bond or VLAN over one that has. */
function isWired(name: string, sys: string, depth = 0): boolean {
  const folder = join(sys, "class/net", name);
  if (!existsSync(folder) || depth > 4) return false;
  if (existsSync(join(folder, "device"))) return true;
  return lowerOf(folder).some((lower) => isWired(lower, sys, depth + 1));
}

/** As the link itself says it; 0: it does not, or is down. */
function ownSpeed(folder: string): number {
  try {
    const mbps = Number(readFileSync(join(folder, "speed"), "utf8"));
    return Number.isSafeInteger(mbps) && mbps > 0 ? mbps : 0;
  } catch {
    // Linux refuses to read that of a link that is down.
    return 0;
  }
}

/** Of these a bond's own speed is what one connection gets: of one that deals single packets out it is that of all its cards, of one that has the others in reserve that of the one in use. */
const AS_ONE = /^(balance-rr|active-backup) /;

function bondMode(folder: string): string | undefined {
  try {
    return readFileSync(join(folder, "bonding/mode"), "utf8");
  } catch {
    return undefined;
  }
}

/** What one connection gets of it, as a move is one: else over the fastest of what is below. */
function speedOf(name: string, sys: string): number {
  const folder = join(sys, "class/net", name);
  if (existsSync(join(folder, "device")) || AS_ONE.test(bondMode(folder) ?? "")) return ownSpeed(folder);
  const wired = lowerOf(folder).filter((lower) => isWired(lower, sys, 1));
  return Math.max(0, ...wired.map((lower) => speedOf(lower, sys)));
}

/** The link that has this address; undefined: none of its wires has. @param development one in a network namespace, whose wires have no device */
export function readAddressLink(
  address: string,
  development = false,
  sys = "/sys",
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
): { name: string; mbps: number } | undefined {
  for (const [name, addresses = []] of Object.entries(interfaces)) {
    if (!addresses.some((one) => one.address === address)) continue;
    if (development && name !== "lo" && !isOwnLink(name))
      return { name, mbps: ownSpeed(join(sys, "class/net", name)) };
    if (!development && isWired(name, sys)) return { name, mbps: speedOf(name, sys) };
  }
  return undefined;
}

/** IPv4, sorted: "10.0.9.0/24". @param development one in a network namespace, whose wires have no device */
export function readNetworks(
  development = false,
  sys = "/sys",
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
): string[] {
  const wired = (name: string) => (development ? name !== "lo" && !isOwnLink(name) : isWired(name, sys));
  const networks = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    wired(name)
      ? addresses.flatMap(({ family, internal, cidr }) =>
          family === "IPv4" && !internal && cidr ? networkOf(cidr) : [],
        )
      : [],
  );
  return [...new Set(networks)].sort();
}
