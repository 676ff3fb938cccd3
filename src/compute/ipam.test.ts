import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressToNumber, numberToAddress } from "../resource/subnet.ts";
import { allocateInterfaces, type Interface, macFor, NoAddress, Taken, usableRange } from "./ipam.ts";

const NET = { network: "default", subnet: "10.77.0.0/24" };

describe("ipam", () => {
  it("gives the lowest free address, after the gateway and the reserved one", () => {
    const first = allocateInterfaces("u1", [NET], [], new Taken());
    expect(first).toEqual([{ network: "default", mac: macFor("u1", 0, () => false), address: "10.77.0.3" }]);
    expect(first[0]?.mac).toMatch(/^52:54:00(:[0-9a-f]{2}){3}$/);
    const gap = [{ network: "default", mac: "52:54:00:00:00:01", address: "10.77.0.4" }];
    expect(allocateInterfaces("u2", [NET], [], new Taken([...first, ...gap]))[0]?.address).toBe("10.77.0.5");
    expect(allocateInterfaces("u2", [NET], [], new Taken(gap))[0]?.address).toBe("10.77.0.3");
  });

  it("keeps what a machine has, in the order of its networks", () => {
    const kept = [{ network: "b", mac: "52:54:00:00:00:09", address: "10.2.0.77" }];
    const b = { network: "b", subnet: "10.2.0.0/24" };
    expect(
      allocateInterfaces("u", [NET, b], kept, new Taken()).map((i) => `${i.network} ${i.address}`),
    ).toEqual(["default 10.77.0.3", "b 10.2.0.77"]);
  });

  it("gives what a gone machine had only when there is no other, and what is gone the longest first", () => {
    const small = { network: "small", subnet: "10.1.0.0/29" };
    const at = (n: number) => ({ network: "small", mac: `52:54:00:00:00:0${n}`, address: `10.1.0.${n}` });
    const next = (taken: number[], resting: number[]) =>
      allocateInterfaces("u", [small], [], new Taken(taken.map(at)), resting.map(at))[0]?.address;
    expect(next([], [3, 4])).toBe("10.1.0.5");
    expect(next([3, 5, 6], [4])).toBe("10.1.0.4");
    expect(next([5, 6], [4, 3])).toBe("10.1.0.4");
    // One of a subnet of before, which was a larger one.
    expect(() => next([3, 4, 5, 6], [7])).toThrow(NoAddress);
  });

  it("says so when a subnet is full", () => {
    const small = { network: "small", subnet: "10.1.0.0/29" };
    const taken: Interface[] = [];
    for (let i = 0; i < 4; i++) taken.push(...allocateInterfaces(`u${i}`, [small], [], new Taken(taken)));
    expect(taken.map((i) => i.address)).toEqual(["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]);
    expect(() => allocateInterfaces("u9", [small], [], new Taken(taken))).toThrow(NoAddress);
    expect(() => allocateInterfaces("u9", [small], [], new Taken(taken))).toThrow(
      /small has no free address/,
    );
  });

  it("never gives one address or MAC twice, nor a reserved one", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 24, max: 30 }),
        fc.array(fc.record({ uid: fc.uuid(), drop: fc.boolean() }), { maxLength: 60 }),
        (length, steps) => {
          const net = { network: "n", subnet: `192.168.4.64/${length}` };
          const { first, count } = usableRange(net.subnet);
          const given = new Map<string, Interface[]>();
          for (const { uid, drop } of steps) {
            if (drop) given.delete([...given.keys()][0] ?? "");
            try {
              given.set(
                uid,
                allocateInterfaces(uid, [net], given.get(uid) ?? [], new Taken([...given.values()].flat())),
              );
            } catch (error) {
              if (!(error instanceof NoAddress)) throw error;
              expect(given.size).toBe(count);
            }
            const all = [...given.values()].flat();
            expect(new Set(all.map((i) => i.address)).size).toBe(all.length);
            expect(new Set(all.map((i) => i.mac)).size).toBe(all.length);
            for (const { address } of all) {
              expect(addressToNumber(address)).toBeGreaterThanOrEqual(first);
              expect(addressToNumber(address)).toBeLessThan(first + count);
              expect(numberToAddress(addressToNumber(address))).toBe(address);
            }
          }
        },
      ),
    );
  });
});
