/** What is kept of the machines from one reading to the next is what a first reading finds. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";
import type { Resource } from "../../resource/object.ts";
import { run, vm } from "../testing/machines.ts";
import { KeptViews, type Machines } from "./kept-views.ts";

const apiVersion = "vireo.dev/v1" as const;

/** One with 13 processors makes no sense. */
function machine(name: string, uid: string, cpus: number): VirtualMachine {
  const spec = { cpus, memory: cpus === 13 ? "odd" : "64Mi", storagePool: `pool-${cpus % 2}` };
  const made = vm(name, spec, "last");
  return { ...made, metadata: { ...made.metadata, uid, labels: { tier: uid } } };
}

/** The third is over. */
function instance(name: string, vmUid: string, n: number, host: string): Instance {
  const made = run(name, host, { vmUid });
  return {
    ...made,
    metadata: { ...made.metadata, name: `${name}-${n}`, uid: `${vmUid}-${n}` },
    status: { ...made.status, custody: n === 3 ? "Released" : "Held" },
  };
}

const inOrder = <T extends Resource>(all: Iterable<T>) =>
  [...all].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));

const name = fc.constantFrom("a", "b", "b-c", "d");
const step = fc.record({
  vms: fc.dictionary(name, fc.record({ uid: fc.constantFrom("1", "2"), cpus: fc.constantFrom(1, 2, 13) })),
  runs: fc.dictionary(
    name,
    fc.record({
      uid: fc.constantFrom("1", "2"),
      n: fc.constantFrom(1, 2, 3),
      host: fc.constantFrom("x", "y", ""),
    }),
  ),
  local: fc.subarray(["pool-0", "pool-1"]),
  unread: fc.subarray(["a1", "d2"]),
});

it("whatever comes, changes and goes", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 6 }), (steps) => {
      const kept = new KeptViews();
      // What did not change is the same object.
      const made = new Map<string, VirtualMachine | Instance>();
      const same = <T extends VirtualMachine | Instance>(object: T): T => {
        const text = JSON.stringify(object);
        const known = made.get(text) ?? object;
        made.set(text, known);
        return known as T;
      };
      for (const { vms, runs, local, unread } of steps) {
        const now: Machines = {
          machines: inOrder(
            Object.entries(vms).map(([of, { uid, cpus }]) => same(machine(of, `${of}${uid}`, cpus))),
          ),
          instances: inOrder(
            Object.entries(runs).map(([of, { uid, n, host }]) => same(instance(of, `${of}${uid}`, n, host))),
          ),
          localPools: new Set(local),
          unread: unread.map((uid) => ({
            name: `${uid}-9`,
            ownerReferences: [{ apiVersion, kind: "VirtualMachine", name: uid, uid }],
          })),
        };
        const [known, fresh] = [kept.look(now), new KeptViews().look(now)];
        expect(known.views).toEqual(fresh.views);
        expect(new Set(known.odd)).toEqual(new Set(fresh.odd));
        // What is done to a list does not come back.
        known.views.length = 0;
      }
    }),
    { numRuns: 300 },
  );
});
