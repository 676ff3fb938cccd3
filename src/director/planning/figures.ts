/** Figures of hosts and machines before and after a move: what it was to gain, and what it did. Pure. */
import { transferBy, wayOf } from "../../compute/migrations/kinds.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { apply } from "../estate/moved.ts";
import { drawOn, processorsOf } from "../estate/use.ts";
import { curveOf, wattsAt } from "../estate/watts.ts";
import { policiesOf, usage } from "../rules/rules.ts";
import { experienceOf } from "./experience.ts";
import { Forecaster, round } from "./forecast.ts";
import type { BothHosts, Effect, HostFigures, Plan } from "./kinds.ts";
import { keyOf, type Move } from "./plan.ts";
import { score } from "./score.ts";

/** What it gives out, and takes by what its machines are expected to use. */
export function hostFigures(estate: Estate, host: HostView): HostFigures {
  const { machines, cpus, memoryBytes } = usage(estate, host.name);
  const curve = curveOf(host);
  const share = indexOf(estate).shareOf(host.name);
  // As goals.ts has it: an empty host is none that has to be on.
  const watts = curve && (machines === 0 ? 0 : wattsAt(curve, share));
  return { machines, cpus, memoryBytes, ...(watts === undefined ? {} : { watts: round(watts, 1) }) };
}

/** Of the two hosts of a move as they are, and of the machine where it is. */
export function figuresOf(estate: Estate, move: Pick<Move, "namespace" | "vm" | "from" | "to">): BothHosts {
  const { hosts } = indexOf(estate);
  const [from, to] = [hosts.get(move.from), hosts.get(move.to)];
  const machine = indexOf(estate).get(keyOf(move));
  const at = machine && hosts.get(machine.host ?? "");
  return {
    ...(from ? { from: withExpected(estate, from) } : {}),
    ...(to ? { to: withExpected(estate, to) } : {}),
    ...(at
      ? {
          score: round(score(estate, machine, at).total, 3),
          expectedCpus: round(drawOn(machine, at) * processorsOf(at), 3),
        }
      : {}),
  };
}

const withExpected = (estate: Estate, host: HostView): HostFigures => ({
  ...hostFigures(estate, host),
  expectedCpus: round(indexOf(estate).shareOf(host.name) * processorsOf(host), 3),
});

/** What has become better and dearer between the two. */
export function gainOf(before: BothHosts, after: BothHosts): Pick<Effect, "score" | "watts"> {
  const watts = ({ from, to }: BothHosts) =>
    from?.watts === undefined || to?.watts === undefined ? undefined : from.watts + to.watts;
  const [then, now] = [watts(before), watts(after)];
  return {
    ...(before.score === undefined || after.score === undefined
      ? {}
      : { score: round(after.score - before.score, 3) }),
    ...(then === undefined || now === undefined ? {} : { watts: round(now - then, 1) }),
  };
}

/** The same moves, each with what it will take and gain when those before it are made. @param plans all that are kept: what moves took until now */
export function predict(estate: Estate, moves: readonly Move[], plans: readonly Plan[]): Move[] {
  const forecaster = new Forecaster(experienceOf(plans, estate));
  let state = estate;
  return moves.map((move) => {
    const key = keyOf(move);
    const { hosts } = indexOf(state);
    const machine: MachineView | undefined = indexOf(state).get(key);
    if (!machine) return move;
    const before = figuresOf(state, move);
    state = apply(state, key, move.to);
    const transfer = transferBy(policiesOf(state, machine));
    const way = wayOf(machine, transfer, hosts.get(move.from), hosts.get(move.to));
    const takes = forecaster.of(machine, way);
    const gain = gainOf(before, figuresOf(state, move));
    // As much of it as came true of others.
    if (gain.watts !== undefined) gain.watts = round(gain.watts * forecaster.wattsKept, 1);
    return { ...move, predicted: { ...takes, ...gain } };
  });
}
