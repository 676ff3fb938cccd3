import { describe, expect, it } from "vitest";
import { parseEtcdAddress } from "./open.ts";

describe("the address of an etcd", () => {
  it("names members, prefix and files", () => {
    expect(parseEtcdAddress("etcd://a:2379,10.0.0.1:2379,[::1]:1/dc/one?ca=/c&cert=/d&key=/e")).toEqual({
      endpoints: ["a:2379", "10.0.0.1:2379", "[::1]:1"],
      root: "/dc/one",
      tls: { ca: "/c", cert: "/d", key: "/e" },
    });
    expect(parseEtcdAddress("etcd://a:1")).toEqual({ endpoints: ["a:1"], root: "/vireo" });
  });
  it.each([
    ["http://a:1", "is not the address of a store"],
    ["etcd://a", '"a" is not HOST:PORT'],
    ["etcd://a:1,,b:2", '"" is not HOST:PORT'],
    ["etcd://a:1/x y", '"/x y" is not a prefix'],
    ["etcd://a:1?user=x", 'there is no option "user"'],
    ["etcd://a:1?cert=/c", "a client certificate needs ca, cert and key"],
  ])("%s is refused", (address, text) => {
    expect(() => parseEtcdAddress(address)).toThrow(text);
  });
});
