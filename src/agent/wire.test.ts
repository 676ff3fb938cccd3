/** Which networks another host can hear this one in. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import type { NetworkInterfaceInfo } from "node:os";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readNetworks } from "./wire.ts";

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), "vireo-wire-"));
});
afterEach(() => rmSync(sys, { recursive: true }));

const at = (cidr: string): NetworkInterfaceInfo[] => [
  { family: "IPv4", address: "", netmask: "", mac: "", internal: false, cidr },
  { family: "IPv6", address: "", netmask: "", mac: "", internal: false, cidr: "fe80::1/64", scopeid: 1 },
];

it("are those of cards, and of bridges and bonds over them; not those of machines and containers", () => {
  const make = (...path: string[]) => mkdirSync(join(sys, "class/net", ...path), { recursive: true });
  make("eth0", "device");
  make("bond0", "lower_eth0");
  make("br0", "lower_bond0");
  make("docker0", "lower_veth1");
  make("veth1");
  const interfaces = {
    eth0: at("10.0.9.17/24"),
    br0: at("10.1.200.3/16"),
    docker0: at("172.17.0.1/16"),
    lo: at("127.0.0.1/8"),
    gone: at("10.9.9.9/24"),
  };
  expect(readNetworks(false, sys, interfaces)).toEqual(["10.0.9.0/24", "10.1.0.0/16"]);
  // In a network namespace no card has a device.
  expect(
    readNetworks(true, sys, { under: at("10.99.0.2/24"), vrb1: at("10.77.0.1/24"), lo: at("127.0.0.1/8") }),
  ).toEqual(["10.99.0.0/24"]);
});
