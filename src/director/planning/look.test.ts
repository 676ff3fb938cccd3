/** Asking only those machines that might gain the most finds what asking all of them finds. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { anyEstate, HOSTS, MACHINES } from "../testing/any-estate.ts";
import { Draft, isSettled, mayMove, type PlanOptions } from "./draft.ts";
import { consider, prospects } from "./look.ts";
import { PLAN_DEFAULTS, planMoves } from "./plan.ts";
import type { Wish } from "./regroup.ts";

const optionsOf = ({ now = 0 }: Estate, more: Partial<PlanOptions> = {}): PlanOptions => ({
  ...PLAN_DEFAULTS,
  now,
  released: new Set(),
  ...more,
});

/** Some hosts are cordoned, in maintenance or silent; some machines came lately, and policies limit what hosts give out and moves. */
const anySituation = fc
  .record({
    estate: anyEstate,
    hosts: fc.array(
      fc.constantFrom({}, {}, { cordoned: true }, { maintenance: true }, { ready: false }, { emptied: true }),
      {
        minLength: HOSTS,
        maxLength: HOSTS,
      },
    ),
    lately: fc.subarray(Array.from({ length: MACHINES }, (_, i) => i)),
    overcommit: fc.constantFrom(undefined, undefined, { cpu: 1 }, { cpu: 2, memory: 0.9 }),
    limit: fc.constantFrom<Policy["spec"]["moves"]>(
      {},
      {},
      { perHour: 0 },
      { perHour: 2 },
      { quiet: [{ hours: "08:00-18:00" }] },
    ),
  })
  .map(
    ({ estate, hosts, lately, overcommit, limit }): Estate => ({
      ...estate,
      hosts: estate.hosts.map((host, h) => ({ ...host, ...hosts[h] })),
      machines: estate.machines.map((machine, i) => ({
        ...machine,
        since: lately.includes(i) ? (estate.now ?? 0) : 0,
      })),
      policies: estate.policies.map((policy, i) =>
        i === 0
          ? {
              ...policy,
              spec: {
                ...policy.spec,
                ...(overcommit ? { overcommit } : {}),
                moves: { ...policy.spec.moves, ...limit },
              },
            }
          : policy,
      ),
    }),
  );

it("tells of no machine less than it gains, and leaves out none that moves", () => {
  fc.assert(
    fc.property(
      anySituation,
      fc.array(fc.tuple(fc.nat(MACHINES - 1), fc.nat(HOSTS - 1)), { maxLength: 3 }),
      (estate, moves) => {
        const index = indexOf(estate);
        const options = optionsOf(estate);
        const draft = new Draft(estate, index, options);
        const look = () => {
          const told = new Map([...prospects(draft, options)].map((one) => [one.at, one]));
          for (const [at, machine] of index.machines.entries()) {
            const may = !draft.moved.has(at) && mayMove(index, at, options) && draft.allows(machine);
            expect(draft.allowsAt(at)).toBe(draft.allows(machine));
            const wishes: Wish[] = [];
            const found = may ? consider(draft, at, options, undefined, wishes) : undefined;
            const prospect = told.get(at);
            if (found) expect(prospect?.gain).toBeGreaterThanOrEqual(found.gain);
            if (found?.broken || found?.hot || wishes.some(({ must }) => must))
              expect(prospect?.must).toBe(true);
            if (wishes.length > 0) expect(prospect).toBeDefined();
            if (prospect && !prospect.must) expect(isSettled(index, at, options)).toBe(true);
          }
        };
        look();
        for (const [m, h] of moves) {
          const [machine, host] = [index.machines[m], estate.hosts[h]];
          if (!machine?.host || !index.hosts.has(machine.host) || machine.movingTo || !host) continue;
          if (draft.moved.has(m)) continue;
          draft.make(m, host, false, "to see");
          look();
        }
        draft.takeBack();
      },
    ),
    { numRuns: 300, seed: 20_261_130 },
  );
});

it("moves first what gains the most of all", () => {
  fc.assert(
    fc.property(anySituation, (estate) => {
      const index = indexOf(estate);
      const options = optionsOf(estate, { maxMoves: 1, threshold: 0.02 });
      const draft = new Draft(estate, index, options);
      const all = index.machines.flatMap((machine, at) =>
        mayMove(index, at, options) && draft.allows(machine) ? (consider(draft, at, options) ?? []) : [],
      );
      const [best] = all.sort((a, b) => b.gain - a.gain || a.item - b.item);
      const [made] = planMoves(estate, options, { left: 0, annealed: 0 });
      const told = best && { vm: index.machines[best.item]?.name, to: index.hostOf(best.to)?.name };
      expect(made && { vm: made.vm, to: made.to }).toEqual(told);
    }),
    { numRuns: 300, seed: 20_261_130 },
  );
});
