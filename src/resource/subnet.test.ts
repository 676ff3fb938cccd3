import { expect, it } from "vitest";
import { broadcastOf, netmaskOf, networkOf } from "./subnet.ts";

it.each([
  ["10.0.9.17/24", "10.0.9.0/24", "10.0.9.255"],
  ["172.16.200.1/12", "172.16.0.0/12", "172.31.255.255"],
  ["192.0.2.9/32", "192.0.2.9/32", "192.0.2.9"],
  ["255.255.255.254/30", "255.255.255.252/30", "255.255.255.255"],
  ["1.2.3.4/0", "0.0.0.0/0", "255.255.255.255"],
])("%s is in %s, whose broadcast address is %s", (address, network, broadcast) => {
  expect(networkOf(address)).toBe(network);
  expect(broadcastOf(network)).toBe(broadcast);
});

it.each([
  [0, "0.0.0.0"],
  [20, "255.255.240.0"],
  [24, "255.255.255.0"],
  [32, "255.255.255.255"],
])("a prefix of %i bits is the mask %s", (bits, mask) => expect(netmaskOf(bits)).toBe(mask));
