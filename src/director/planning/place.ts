/** Chooses a host for a machine. Deterministic: ties go to the first name. Pure. */
import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { whoSays } from "../estate/goals.ts";
import { failoverObstacle } from "../failover/failover.ts";
import { isSpecial, obstacle, policiesOf } from "../rules/rules.ts";
import { isReservedFrom, judge, SURVIVAL_LOOKS, type Verdict } from "./judge.ts";
import { refusal } from "./refusal.ts";
import { score } from "./score.ts";

type Best = Omit<Verdict, "against">;

interface Choice {
  best: Best | undefined;
  /** How many hosts could run it. */
  possible: number;
}

/** Without words for all the others. @param but a host that it is to leave */
export function choose(estate: Estate, machine: MachineView, but?: string): Choice {
  const index = indexOf(estate);
  // Of another view of it than the estate's, the index knows neither its group nor its place.
  const seek = index.get(machine.key) === machine ? index.likings.seek(machine) : undefined;
  if (!seek) {
    const possible = judge(estate, machine).filter(({ host, score: of }) => of && host.name !== but);
    return { best: possible[0], possible: possible.length };
  }
  const { shelves } = index;
  const leave = but === undefined ? -1 : index.hostNumber(but);
  const special = isSpecial(machine);
  const accept = (h: number): boolean => {
    const host = index.hostOf(h);
    return h !== leave && host !== undefined && !(special && obstacle(estate, machine, host));
  };
  const reserved = isReservedFrom(estate, machine);
  let looks = SURVIVAL_LOOKS;
  const survives = (h: number): boolean => {
    const host = index.hostOf(h);
    return accept(h) && host !== undefined && looks-- > 0 && !failoverObstacle(estate, machine, host);
  };
  const last = reserved ? survives : special || leave >= 0 ? accept : undefined;
  const lowest = Number.NEGATIVE_INFINITY;
  const calm = index.likings.best(
    seek,
    lowest,
    (to) => index.load.staysCalm(machine, to) && (!last || last(to)),
  );
  const host = index.hostOf(calm < 0 ? index.likings.best(seek, lowest, last) : calm);
  return {
    best: host && { host, score: score(estate, machine, host), ...(calm < 0 ? { busy: true } : {}) },
    possible: shelves.countOf(seek.want, special ? accept : undefined, leave),
  };
}

export type Placement =
  | { host: string; reason: string; policy?: string }
  | { host?: undefined; reason: string };

/** "policy web (energy): 20 W more, the best of 2 possible hosts" */
export function reasonFor(estate: Estate, machine: MachineView, best: Best, possible: number): string {
  const [policy] = policiesOf(estate, machine);
  const details = (best.score?.parts ?? [])
    .filter((part) => part.weight >= 0.1 || part.name === "preferred")
    .map((part) => part.detail);
  const rank = possible > 1 ? `, the best of ${possible} possible hosts` : ", the only possible host";
  return `${whoSays(policy, indexOf(estate).aimOf(policy))}: ${details.join(", ")}${rank}`;
}

/** @param but a host that it is to leave */
export function place(estate: Estate, machine: MachineView, but?: string): Placement {
  const { best, possible } = choose(estate, machine, but);
  if (!best) {
    const others = estate.hosts.filter(({ name }) => name !== but);
    if (others.length === 0)
      return { reason: but === undefined ? "there is no host yet" : `there is no host but ${but}` };
    return { reason: refusal(estate, machine, others) };
  }
  const [policy] = policiesOf(estate, machine);
  return {
    host: best.host.name,
    reason: reasonFor(estate, machine, best, possible),
    ...(policy ? { policy: policy.metadata.name } : {}),
  };
}
