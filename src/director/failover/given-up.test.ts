/** Losses of which there are more than can be looked at: what is said of them, and of others beside them. */
import { expect, it, vi } from "vitest";
import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { estateOf, faultsOf, GiB, host, machine, policy } from "../testing/surviving.ts";
import { failoverRules, survivalOf } from "./failover.ts";
import { type Demand, Losses } from "./losses.ts";

/** Two of the hosts are empty, so that of any three full ones the loss is not survived: too many to look at each. */
const twoEmpty = (order: readonly number[]): Estate =>
  estateOf(
    Array.from({ length: 16 }, (_, i) => host(`h${i}`, i === 0 ? { memoryBytes: 5 * GiB } : {})),
    [
      ...Array.from({ length: 14 }, (_, i) => machine(`m${i}`, 4, `h${i}`)),
      // By itself, and so far on no host.
      machine("large", 1),
    ],
    ...order.map((losses) => policy({ failover: { per: "host", losses } }, `any-${losses}`)),
  );
const move = (estate: Estate, name: string, to: string) => {
  const at = indexOf(estate).position.get(`default/${name}`) ?? -1;
  const moved = indexOf(estate).move(`default/${name}`, to);
  if (moved) estate.machines[at] = moved;
};

it.each([[[2, 3]], [[3, 2]]])(
  "losses of two hosts are looked at where those of three are too many: %j",
  (order) => {
    const estate = twoEmpty(order);
    const [two, three] = [order.indexOf(2), order.indexOf(3)];
    expect(faultsOf(estate, three).at(-1)).toBe("and not all losses of 3 hosts were looked at");
    expect(faultsOf(estate, two)).toEqual([]);
    move(estate, "large", "h0");
    expect(faultsOf(estate, two).length).toBeGreaterThan(1);
    expect(faultsOf(estate, two)[0]).toMatch(/^the loss of hosts h0 and h\d+ is not survived/);
    // The same when all is looked at anew.
    expect(faultsOf({ ...estate }, two)).toEqual(faultsOf(estate, two));
  },
);

it.each([[[2, 3]], [[3, 2]]])("of what is taken up again, others stay given up: %j", (order) => {
  const estate = twoEmpty(order);
  const demands = order.map((losses): Demand => ({ name: "web", per: "host", losses, machines: [0] }));
  const losses = new Losses(estate, indexOf(estate), demands, () => true);
  const groupOf = (count: number) =>
    losses.groups.find((group) => group.losses === count) as Losses["groups"][0];
  const told = () => [...losses.tooMany.keys()].map((demand) => demand.losses).sort();
  losses.giveUp(groupOf(3));
  expect([2, 3].map((count) => groupOf(count).givenUp)).toEqual([false, true]);
  losses.giveUp(groupOf(2));
  expect(told()).toEqual([2, 3]);
  losses.takeUp(groupOf(2));
  expect([2, 3].map((count) => groupOf(count).givenUp)).toEqual([false, true]);
  expect(told()).toEqual([3]);
  losses.takeUp(groupOf(3));
  expect(told()).toEqual([]);
});

it("says that it does not know, where there is more to be looked at for one question than can be", () => {
  // Of machines that are spread over racks none follows from the loss of hosts alone.
  const estate = estateOf(
    Array.from({ length: 16 }, (_, i) => host(`h${i}`, { rack: `r${i % 3}` })),
    Array.from({ length: 14 }, (_, i) => machine(`m${i}`, 1, `h${i}`)),
    policy({ spread: "rack", failover: { per: "host", losses: 3 } }),
  );
  const survival = survivalOf(estate);
  const parts = survival?.losses.groups[0]?.parts;
  if (!survival || !parts) throw new Error("there are parts");
  const all = Array.from({ length: 16 }, (_, d) => d);
  const stopsAt = (most?: number) => {
    const sets = parts.uncovered(all, { most });
    for (let next = sets.next(); ; next = sets.next()) if (next.done) return next.value;
  };
  expect(stopsAt()).toBeUndefined();
  expect(stopsAt(100)).toHaveLength(3);
  const found = survival.ifMoved(0, "h15");
  expect(found).toBeUndefined();
  const { uncovered } = parts;
  vi.spyOn(parts, "uncovered").mockImplementation((changed, of) =>
    // Never more than the question has itself be looked at.
    uncovered.call(parts, changed, { ...of, most: Math.min(10, of?.most ?? 0) }),
  );
  const fault = survival.ifMoved(0, "h15");
  expect(fault).toMatchObject({ sure: false, loss: expect.stringMatching(/^hosts h\d+ and h\d+ and h\d+$/) });
  // Nor is that for one policy alone, or for ever.
  const one = indexOf(estate).machines[0];
  const [to] = estate.hosts.slice(15);
  if (!one || !to) throw new Error("they are there");
  expect(failoverRules(estate, one)(to)).toEqual([`failover per host (policy "web")`]);
  vi.restoreAllMocks();
  expect(survival.ifMoved(0, "h15")).toBeUndefined();
  expect(faultsOf(estate)).toEqual([]);
});

it("of what was given up, guards the sets of the fullest that were looked at", () => {
  const other = (name: string, gib: number, on?: string) =>
    machine(name, gib, on, { labels: { app: name[0] ?? "" } });
  const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
  const hosts = [...names("h", 60), ...names("full", 6), ...names("empty", 3)];
  const estate = estateOf(
    hosts.map((name, i) => host(name, { rack: `r${i % 3}` })),
    [
      // Too many sets: those spread over racks follow from nothing.
      ...names("h", 60).map((on, i) => machine(`m${i}`, 1, on)),
      // There is room for three of these, on the empty hosts.
      ...names("full", 6).map((on, i) => other(`db-${i}`, 4, on)),
      other("x", 1),
    ],
    policy({ spread: "rack", failover: { per: "host", losses: 3 } }),
    policy({ selector: { matchLabels: { app: "d" } }, failover: { per: "host", losses: 3 } }, "db"),
  );
  expect(faultsOf(estate, 1)).toEqual([expect.stringMatching(/; those of the fullest are survived$/)]);
  const x = indexOf(estate).position.get("default/x") ?? -1;
  expect(survivalOf(estate)?.ifMoved(x, "h0")).toBeUndefined();
  const fault = survivalOf(estate)?.ifMoved(x, "empty0");
  expect(fault?.loss).toMatch(/^hosts full\d and full\d and full\d$/);
  move(estate, "x", "empty0");
  expect(faultsOf(estate, 1)[0]).toMatch(/^the loss of hosts full\d and full\d and full\d is not survived/);
});
