/** The flat model that planning looks at says what the rules in words say, for any estate. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { judge } from "../planning/judge.ts";
import { choose } from "../planning/place.ts";
import { score } from "../planning/score.ts";
import { isSpecial, obstacle } from "../rules/rules.ts";
import { anyEstate, HOSTS, MACHINES } from "../testing/any-estate.ts";
import type { Estate } from "./estate.ts";
import { indexOf } from "./estate-index.ts";
import { apply } from "./moved.ts";

function agree(estate: Estate): void {
  const index = indexOf(estate);
  for (const machine of estate.machines) {
    const seek = index.likings.seek(machine);
    if (!seek) throw new Error(`no ${machine.key}`);
    for (const [h, host] of estate.hosts.entries()) {
      const why = obstacle(estate, machine, host);
      if (host.name === machine.host) {
        // Of what is special the words have the last say; on the two hosts of a machine that moves it is not asked.
        if (isSpecial(machine) || machine.movingTo) continue;
        expect([machine.name, host.name, seek.now?.stays]).toEqual([
          machine.name,
          host.name,
          why === undefined,
        ]);
        expect(seek.now?.like).toBeCloseTo(score(estate, machine, host).total, 9);
        continue;
      }
      if (machine.movingTo) continue;
      const admitted = index.shelves.admits(seek.want, h) && !(isSpecial(machine) && why);
      expect([machine.name, host.name, admitted]).toEqual([machine.name, host.name, why === undefined]);
      if (admitted) expect(index.likings.liking(seek, h)).toBeCloseTo(score(estate, machine, host).total, 9);
    }
    if (machine.movingTo) continue;
    // The short way to the best one finds what looking at all finds.
    const possible = judge(estate, machine).filter(({ host, score: of }) => of && host.name !== machine.host);
    const accept = (h: number) => {
      const host = index.hostOf(h);
      return host !== undefined && !obstacle(estate, machine, host);
    };
    const lowest = Number.NEGATIVE_INFINITY;
    const calm = index.likings.best(seek, lowest, (h) => index.load.staysCalm(machine, h) && accept(h));
    const best = calm < 0 ? index.likings.best(seek, lowest, accept) : calm;
    const chosen = choose(estate, machine, machine.host);
    expect(chosen.possible).toBe(possible.length);
    const top = possible[0]?.score?.total ?? -1;
    if (best < 0) expect(possible).toEqual([]);
    else expect(index.likings.liking(seek, best)).toBeCloseTo(top, 9);
    expect(chosen.best?.score?.total ?? -1).toBeCloseTo(top, 9);
    expect(index.hostOf(best)?.name).toBe(chosen.best?.host.name);
  }
}

it("agrees at first and after moves", () => {
  fc.assert(
    fc.property(
      anyEstate,
      fc.array(fc.tuple(fc.nat(MACHINES - 1), fc.nat(HOSTS - 1)), { maxLength: 4 }),
      (start, moves) => {
        let estate = start;
        agree(estate);
        for (const [m, h] of moves) {
          const machine = estate.machines[m];
          if (!machine || machine.movingTo) continue;
          estate = apply(estate, machine.key, `h${h}`);
          agree(estate);
        }
      },
    ),
    { numRuns: 300, seed: 20_261_128 },
  );
});
