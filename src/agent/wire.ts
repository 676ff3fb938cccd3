/** The networks that this host is in over its own wires, and not only with its machines: what another host there can hear of it. */

import { existsSync, readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { networkOf } from "../resource/subnet.ts";
import { isOwnLink } from "./network/network-names.ts";

/** It has a device, or is a bridge, bond or VLAN over one that has. */
function isWired(name: string, sys: string, depth = 0): boolean {
  const folder = join(sys, "class/net", name);
  if (!existsSync(folder) || depth > 4) return false;
  if (existsSync(join(folder, "device"))) return true;
  return readdirSync(folder).some(
    (entry) => entry.startsWith("lower_") && isWired(entry.slice("lower_".length), sys, depth + 1),
  );
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
