/** Which networks another host can hear this one in. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { NetworkInterfaceInfo } from "node:os";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readAddressLink, readNetworks } from "./wire.ts";

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), "vireo-wire-"));
});
afterEach(() => rmSync(sys, { recursive: true }));

const first = (cidr: string): NetworkInterfaceInfo => ({
  ...{ family: "IPv4", address: "", netmask: "", mac: "", internal: false, cidr },
});
const at = (cidr: string): NetworkInterfaceInfo[] => [
  first(cidr),
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

it("the link of the address is told with what one connection gets of what is below it", () => {
  const put = (files: Record<string, string>) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(sys, "class/net", path)), { recursive: true });
      writeFileSync(join(sys, "class/net", path), text);
    }
  };
  const card = (name: string, speed: string) => ({ [`${name}/device/vendor`]: "", [`${name}/speed`]: speed });
  const of = (link: string, development = false) =>
    readAddressLink("10.0.9.17", development, sys, {
      other: [{ ...first("10.1.0.1/24"), address: "10.1.0.1" }],
      [link]: [{ ...first("10.0.9.17/24"), address: "10.0.9.17" }],
    });
  put({
    ...card("eno1", "1000\n"),
    ...card("eno2", "25000\n"),
    ...card("eno3", "10000\n"),
    ...card("eno4", "-1\n"),
  });
  expect(of("eno1")).toEqual({ name: "eno1", mbps: 1000 });
  // vmbr0 over a bond over two cards; machines' links are on it, too.
  put({ "bond0/lower_eno2": "", "bond0/lower_eno3": "", "bond0/speed": "35000\n" });
  put({ "bond0/bonding/mode": "802.3ad 4\n", "vmbr0/lower_bond0": "", "vmbr0/lower_tap7": "" });
  put({ "tap7/speed": "100000\n", "vmbr0/speed": "100000\n" });
  expect(of("vmbr0")).toEqual({ name: "vmbr0", mbps: 25000 });
  put({ "bond0/bonding/mode": "balance-rr 0\n" });
  expect(of("vmbr0")?.mbps).toBe(35000);
  put({ "bond0/bonding/mode": "active-backup 1\n", "bond0/speed": "10000\n" });
  expect(of("vmbr0")?.mbps).toBe(10000);
  // A VLAN of a card, and one of the bond.
  put({ "eno1.100/lower_eno1": "", "bond0.7/lower_bond0": "" });
  expect(of("eno1.100")).toEqual({ name: "eno1.100", mbps: 1000 });
  expect(of("bond0.7")?.mbps).toBe(10000);
  // It does not tell; it is none of the host's wires; nothing has the address.
  expect(of("eno4")).toEqual({ name: "eno4", mbps: 0 });
  expect(of("tap7")).toBeUndefined();
  expect(readAddressLink("10.0.9.17", false, sys, {})).toBeUndefined();
  put({ "under/speed": "10000\n" });
  expect(of("under", true)).toEqual({ name: "under", mbps: 10000 });
});
