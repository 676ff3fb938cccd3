/** Losses of several hosts at once, of which there are too many to look at each: against trying everything, and of large estates. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";
import { estateOf, faultsOf, findsRoom, GiB, host, machine, policy } from "../testing/surviving.ts";
import { survivalOf } from "./failover.ts";

describe("many losses", () => {
  /** Of more hosts, so that most losses follow from ways into parts. */
  const manyHosts = fc.record({
    losses: fc.constantFrom(2, 2, 2, 3),
    room: fc.array(fc.integer({ min: 2, max: 8 }), { minLength: 9, maxLength: 10 }),
    closed: fc.integer({ min: 0, max: 2 }),
    racks: fc.boolean(),
    machines: fc.array(
      fc.record({
        gib: fc.integer({ min: 1, max: 4 }),
        at: fc.nat(),
        app: fc.constantFrom("web", "web", "db", "none"),
      }),
      { maxLength: 9 },
    ),
    rules: fc.constantFrom<Partial<Policy["spec"]>>(
      {},
      {},
      { keepApart: "host" },
      { keepApart: "rack" },
      { spread: "host" },
      { spread: "rack" },
      { keepTogether: "rack" },
      { overcommit: { memory: 0.7 } },
    ),
  });
  type Many = typeof manyHosts extends fc.Arbitrary<infer T> ? T : never;
  const manyDrawn = ({ losses, room, closed, racks, machines, rules }: Many): Estate => {
    const hosts = room.map((gib, i) =>
      host(`h${i}`, {
        memoryBytes: gib * GiB,
        ...(racks ? { rack: `r${i % 4}` } : {}),
        ...(i < closed ? { closed: "cordoned", cordoned: true } : {}),
      }),
    );
    const estate = estateOf(
      hosts,
      [],
      policy({ failover: { per: "host", losses }, ...rules }),
      policy(
        { selector: { matchLabels: { app: "db" } }, failover: { per: racks ? "rack" : "host", losses: 1 } },
        "db",
      ),
    );
    for (const [i, { gib, at, app }] of machines.entries()) {
      const own = machine(`m${i}`, gib, undefined, { labels: { app } });
      const to = hosts[at % hosts.length] as HostView;
      if (to.closed || obstacle({ ...estate, machines: [...estate.machines, own] }, own, to)) continue;
      estate.machines.push({ ...own, host: to.name });
    }
    return estate;
  };
  /** All sets of so many, one by one, as if there were nothing else to prove it by. */
  function* setsOf(names: readonly string[], size: number): Generator<string[]> {
    if (size === 0) yield [];
    for (const [i, name] of names.entries())
      if (size > 0) for (const rest of setsOf(names.slice(i + 1), size - 1)) yield [name, ...rest];
  }
  const isWeb = ({ labels }: MachineView) => labels.app === "web";
  const brokenBy = (estate: Estate, losses: number): string[] => {
    const names = estate.hosts.map(({ name }) => name);
    return [...setsOf(names, losses)].flatMap((lost) =>
      findsRoom(estate, new Set(lost), isWeb) ? [] : [`hosts ${lost.join(" and ")}`],
    );
  };
  const toldOf = (estate: Estate) =>
    (survivalOf(estate)?.faults() ?? []).flatMap(({ loss }) => (loss.startsWith("hosts ") ? [loss] : []));
  /** What has nothing and takes nothing is told of a few times only. */
  const isTold = (estate: Estate, told: readonly string[], loss: string) => {
    const idle = new Set(
      estate.hosts.flatMap(({ name, closed }) =>
        closed && !estate.machines.some((m) => m.host === name) ? [name] : [],
      ),
    );
    const busy = (words: string) =>
      words
        .replace("hosts ", "")
        .split(" and ")
        .filter((name) => !idle.has(name))
        .join();
    return told.some((each) => busy(each) === busy(loss));
  };

  it("of many sets says what trying everything says, without looking at each", () => {
    fc.assert(
      fc.property(manyHosts, (of) => {
        const estate = manyDrawn(of);
        const told = toldOf(estate);
        const broken = brokenBy(estate, of.losses);
        // Of many it says that it has not looked at all.
        if (broken.length > 100) return;
        expect(told.filter((loss) => !broken.includes(loss))).toEqual([]);
        expect(broken.filter((loss) => !isTold(estate, told, loss))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it.each<Partial<Policy["spec"]>>([{ keepApart: "rack" }, { spread: "rack" }])(
    "ways of two hosts are not taken together where a rule allows only one of them: %j",
    (rules) => {
      // Room is only in rack 3, on two hosts, and each machine alone may have any of them.
      const hosts = Array.from({ length: 9 }, (_, i) =>
        host(`h${i}`, { rack: `r${i % 4}`, memoryBytes: (i % 4 === 3 ? 4 : 1) * GiB }),
      );
      const other = { labels: { app: "other" } };
      const estate = estateOf(
        hosts,
        [
          machine("x", 1, "h0"),
          machine("y", 1, "h1"),
          ...[2, 4, 5, 6, 8].map((i) => machine(`full-${i}`, 1, `h${i}`, other)),
        ],
        policy({ ...rules, failover: { per: "host", losses: 2 } }),
      );
      expect(faultsOf(estate)).toContainEqual(
        expect.stringMatching(/^the loss of hosts h0 and h1 is not survived/),
      );
    },
  );

  it("of a thousand hosts any two, and of some hundreds any three, are proven", () => {
    const large = (hosts: number, losses: number, empty: number) =>
      estateOf(
        Array.from({ length: hosts }, (_, i) => host(`h${i}`)),
        Array.from({ length: 10 * (hosts - empty) }, (_, i) =>
          machine(`m${i}`, 4 / 10, `h${i % (hosts - empty)}`),
        ),
        policy({ failover: { per: "host", losses } }),
      );
    // As few empty hosts as can be: nowhere else is any room.
    expect(faultsOf(large(1000, 2, 2))).toEqual([]);
    expect(faultsOf(large(300, 3, 3))).toEqual([]);
    const [first, ...more] = faultsOf(large(300, 2, 1));
    expect(first).toMatch(/^the loss of hosts h\d+ and h\d+ is not survived: m\d+ finds no room elsewhere$/);
    expect(more.at(-1)).toBe("and not all losses of 2 hosts were looked at");
  });

  it("where too many do not follow from less, says so and what would help", () => {
    // Of machines that are spread over racks, each rack having some, none follows from the loss of hosts alone.
    const estate = estateOf(
      Array.from({ length: 300 }, (_, i) => host(`h${i}`, { rack: `r${i % 3}` })),
      Array.from({ length: 300 }, (_, i) => machine(`m${i}`, 1, `h${i}`)),
      policy({ spread: "rack", failover: { per: "host", losses: 2 } }),
    );
    expect(faultsOf(estate)).toEqual([
      "it cannot be proven: any 2 hosts are 44850 losses, more than can be looked at one by one; it could be if 2 more hosts as large as the largest were empty, or fewer were to be lost at once; those of the fullest are survived",
    ]);
  });

  it("carried on with moves, knows of many sets what it would know anew", () => {
    fc.assert(
      fc.property(manyHosts, fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 5 }), (of, moves) => {
        const estate = manyDrawn(of);
        const index = indexOf(estate);
        survivalOf(estate);
        for (const [m, h] of moves) {
          const one = index.machines[m % Math.max(1, index.machines.length)];
          const to = estate.hosts[h % estate.hosts.length] as HostView;
          if (!one || to.closed || one.host === to.name || obstacle(estate, one, to)) continue;
          const before = toldOf(estate);
          const fault = survivalOf(estate)?.ifMoved(index.position.get(one.key) ?? -1, to.name);
          expect(toldOf(estate)).toEqual(before);
          const moved = index.move(one.key, to.name);
          if (moved) estate.machines[index.position.get(one.key) ?? -1] = moved;
          const anew = { ...estate, machines: [...estate.machines] };
          const now = toldOf(anew);
          if (survivalOf(anew)?.losses.tooMany.size || now.length > 100 || before.length > 100) return;
          expect(toldOf(estate).filter((loss) => !isTold(anew, now, loss))).toEqual([]);
          expect(now.filter((loss) => !isTold(anew, toldOf(estate), loss))).toEqual([]);
          if (fault?.loss.startsWith("hosts ")) expect(isTold(anew, now, fault.loss)).toBe(true);
          else if (!fault) expect(now.filter((loss) => !isTold(estate, before, loss))).toEqual([]);
        }
      }),
      { numRuns: 150 },
    );
  });
});
