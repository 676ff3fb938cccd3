import fc from "fast-check";
import { expect, it } from "vitest";
import type { InformerCallback } from "../reconcile/informer.ts";
import { AddressBook } from "./address-book.ts";
import { type Interface, NoAddress } from "./ipam.ts";
import type { VirtualMachine } from "./kinds.ts";

const NETWORKS = [
  { network: "a", subnet: "10.1.0.0/28" },
  { network: "b", subnet: "10.2.0.0/29" },
];

const machine = (uid: string, interfaces?: Interface[]): VirtualMachine => {
  const vm = { metadata: { name: uid, uid }, ...(interfaces ? { status: { interfaces } } : {}) };
  // Only what the book reads.
  return vm as unknown as VirtualMachine;
};

/** A book, and what an informer would tell it. */
function openBook() {
  let tell: InformerCallback<VirtualMachine> = () => {};
  const shown = new Map<string, VirtualMachine>();
  const book = new AddressBook({
    onChange: (callback) => {
      tell = callback;
      return () => {};
    },
  });
  return {
    book,
    shown,
    show: (uid: string, vm: VirtualMachine | undefined) => {
      const old = shown.get(uid);
      if (vm) shown.set(uid, vm);
      else shown.delete(uid);
      tell(uid, vm, old);
    },
  };
}

const uid = fc.constantFrom("u1", "u2", "u3", "u4", "u5", "u6", "u7");
const step = fc.oneof(
  fc.record({ ask: uid, networks: fc.subarray(NETWORKS, { minLength: 1 }) }),
  fc.record({ seen: uid }),
  fc.record({ gone: uid }),
);

it("gives no address or MAC to two machines, whether the informer has shown what was given or not, and each keeps its own", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const { book, shown, show } = openBook();
      /** What each was given last. */
      const has = new Map<string, Interface[]>();
      for (const each of steps) {
        if ("ask" in each) {
          if (!shown.has(each.ask)) show(each.ask, machine(each.ask));
          const known = shown.get(each.ask) ?? machine(each.ask);
          try {
            const given = book.allocate(known, each.networks);
            for (const { network, address } of known.status?.interfaces ?? [])
              if (each.networks.some((one) => one.network === network))
                expect(given).toContainEqual(expect.objectContaining({ network, address }));
            has.set(each.ask, given);
          } catch (error) {
            if (!(error instanceof NoAddress)) throw error;
          }
        } else if ("seen" in each) show(each.seen, machine(each.seen, has.get(each.seen) ?? []));
        else {
          show(each.gone, undefined);
          has.delete(each.gone);
        }
        const all = [...has.values()].flat();
        expect(new Set(all.map(({ network, address }) => `${network} ${address}`)).size).toBe(all.length);
        expect(new Set(all.map(({ mac }) => mac)).size).toBe(all.length);
      }
    }),
    { numRuns: 300 },
  );
});

it("gives again what was given to one that is gone before it was shown with it", () => {
  const { book, show } = openBook();
  const small = [{ network: "b", subnet: "10.2.0.0/29" }];
  for (const each of ["u1", "u2", "u3", "u4", "u5"]) show(each, machine(each));
  const addresses = ["u1", "u2", "u3", "u4"].map((each) => book.allocate(machine(each), small)[0]?.address);
  expect(addresses).toEqual(["10.2.0.3", "10.2.0.4", "10.2.0.5", "10.2.0.6"]);
  expect(() => book.allocate(machine("u5"), small)).toThrow(NoAddress);
  show("u2", undefined);
  // It was being looked at when it went.
  expect(book.allocate(machine("u2"), small)[0]?.address).toBe("10.2.0.4");
  expect(book.allocate(machine("u5"), small)[0]?.address).toBe("10.2.0.4");
});

it("never gives what was refused, nor what a guest still has of a network that it leaves", () => {
  const { book, show } = openBook();
  for (const each of ["u1", "u2", "u3"]) show(each, machine(each));
  const [net] = NETWORKS;
  if (!net) throw new Error("there is a network");
  const one = machine("u1");
  const given = book.allocate(one, [net]);
  book.refuse(one, given);
  const other = book.allocate(one, [net]);
  expect(other[0]?.address).toBe("10.1.0.4");
  const left = [{ network: "a", mac: "52:54:00:00:00:01", address: "10.1.0.5" }];
  expect(book.allocate(machine("u2"), [net], left)[0]?.address).toBe("10.1.0.6");
  expect(book.allocate(machine("u3"), [net])[0]?.address).toBe("10.1.0.5");
});
