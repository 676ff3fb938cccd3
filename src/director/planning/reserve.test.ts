/** Plans restore reserved failover capacity that was lost. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Estate, HostView } from "../estate/estate.ts";
import { apply } from "../estate/moved.ts";
import { survivalOf } from "../failover/failover.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";
import { GiB, hostView, machineView, policyOf } from "../testing/views.ts";
import { PLAN_DEFAULTS, planMoves } from "./plan.ts";

const host = (name: string, gib: number, more: Partial<HostView> = {}) =>
  hostView(name, { memoryBytes: gib * GiB, cpus: 64, ...more });
const machine = (name: string, gib: number, on: string, app = "other") =>
  machineView(name, on, { labels: { app }, memoryBytes: gib * GiB });
const web = (more: Partial<Policy["spec"]> = {}) =>
  policyOf("web", {
    selector: { matchLabels: { app: "web" } },
    failover: { per: "host", losses: 1 },
    ...more,
  });
const options = { ...PLAN_DEFAULTS, threshold: 5, now: 1e12, released: new Set<string>() };
const faultsOf = (estate: Estate) =>
  survivalOf({ ...estate })
    ?.faults()
    .map(({ loss }) => loss) ?? [];
const after = (estate: Estate, moves: ReturnType<typeof planMoves>) =>
  moves.reduce((now, { namespace, vm, to }) => apply(now, `${namespace}/${vm}`, to), { ...estate });

it("makes the room that a loss needs, by one move, and says for whom", () => {
  // db needs 3 GiB when a is lost; b and c have 2 each.
  const estate: Estate = {
    hosts: [host("a", 4), host("b", 4), host("c", 4)],
    machines: [
      machine("db", 3, "a", "web"),
      machine("x", 1, "b"),
      machine("y", 1, "b"),
      machine("z", 2, "c"),
    ],
    policies: [web()],
    odd: [],
  };
  expect(faultsOf(estate)).toEqual(["host a"]);
  const moves = planMoves(estate, options);
  expect(moves.map(({ vm, from, to, reason }) => [vm, from, to, reason])).toEqual([
    ["x", "b", "c", 'policy "web" wants to survive the loss of host a: leaves room on b for db'],
  ]);
  expect(faultsOf(after(estate, moves))).toEqual([]);
});

it("moves one away whose host cannot be lost with it, and leaves it all where nothing helps", () => {
  const estate: Estate = {
    hosts: [host("a", 8), host("b", 4), host("c", 4)],
    machines: [machine("one", 3, "a", "web"), machine("two", 3, "a", "web"), machine("z", 2, "c")],
    policies: [web()],
    odd: [],
  };
  expect(faultsOf(estate)).toEqual(["host a"]);
  const moves = planMoves(estate, options);
  expect(moves).toHaveLength(1);
  expect(faultsOf(after(estate, moves))).toEqual([]);
  const tight = { ...estate, hosts: [host("a", 8), host("b", 2), host("c", 2)] };
  expect(planMoves(tight, options)).toEqual([]);
});

it("never makes a loss worse, keeps all rules at each step, and moves nothing that may not be moved", () => {
  let mended = 0;
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 4, max: 7 }), { minLength: 3, maxLength: 5 }),
      fc.array(
        fc.record({
          gib: fc.integer({ min: 1, max: 4 }),
          at: fc.nat(),
          web: fc.boolean(),
          fixed: fc.constantFrom(true, false, false, false),
        }),
        { minLength: 2, maxLength: 9 },
      ),
      (rooms, drawn) => {
        const hosts = rooms.map((gib, i) => host(`h${i}`, gib));
        const estate: Estate = { hosts, machines: [], policies: [web()], odd: [] };
        for (const [i, { gib, at, web: own, fixed }] of drawn.entries()) {
          const to = hosts[at % hosts.length] as HostView;
          const one = { ...machine(`m${i}`, gib, to.name, own ? "web" : "other"), movable: !fixed };
          const { host: _, ...free } = one;
          if (!obstacle({ ...estate, machines: [...estate.machines, free] }, free, to))
            estate.machines.push(one);
        }
        const before = faultsOf(estate);
        const moves = planMoves(estate, options);
        let now: Estate = { ...estate };
        for (const { vm, to } of moves) {
          const moving = now.machines.find(({ name }) => name === vm);
          const there = hosts.find(({ name }) => name === to);
          expect(moving?.movable).toBe(true);
          if (!moving || !there) throw new Error("not there");
          expect(obstacle({ ...now }, moving, there)).toBeUndefined();
          const was = faultsOf(now);
          now = { ...now, machines: now.machines.map((m) => (m === moving ? { ...m, host: to } : m)) };
          const is = faultsOf(now);
          expect(is.filter((loss) => !was.includes(loss))).toEqual([]);
          expect(is.length).toBeLessThan(was.length);
        }
        if (faultsOf(now).length < before.length) mended++;
      },
    ),
    { numRuns: 200, seed: 20261129 },
  );
  expect(mended).toBeGreaterThan(5);
});
