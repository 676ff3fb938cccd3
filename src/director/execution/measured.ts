/**
 * What a move did by what machines used some minutes later, beside what was expected of them when it ended. Hosts do not tell what they take: their watts are by their curves, and the
 * use of their machines is measured. Others may have moved between the same hosts meanwhile, so what this one did is told by what the machine itself adds to each; not where others have
 * emptied one of them meanwhile, or come to it first: the watts of an idle host are saved by all of them together. Pure.
 */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { drawOn, processorsOf } from "../estate/use.ts";
import { curveOf, wattsAt } from "../estate/watts.ts";
import { round } from "../planning/forecast.ts";
import type { BothHosts, Measured } from "../planning/kinds.ts";
import { keyOf, type Move } from "../planning/plan.ts";

/** Of a host: how many machines it has, and the processors that they use. */
interface Busy {
  machines: number;
  cpus: number;
}

/** Undefined: what it uses is not measured, or it is elsewhere by now. @param after as the move ended @param now ms since the epoch */
export function measuredOf(
  estate: Estate,
  move: Pick<Move, "namespace" | "vm" | "from" | "to">,
  after: BothHosts | undefined,
  now: number,
): Measured | undefined {
  const { hosts } = indexOf(estate);
  const machine = indexOf(estate).get(keyOf(move));
  if (!machine?.use || machine.host !== move.to) return undefined;
  const [from, to] = [hosts.get(move.from), hosts.get(move.to)];
  const { cpus } = machine.use;
  const [fromNow, toNow] = [from, to].map((host) => host && busyNow(estate, host));
  const [fromThen, toThen] = [expected(after?.from), expected(after?.to)];
  // Whether a host is on for this machine alone is what all moves together came to: of each of them that would be told again.
  const isAsThen = isEmpty(fromNow, 0) === isEmpty(fromThen, 0) && isEmpty(toNow, 1) === isEmpty(toThen, 1);
  const watts = isAsThen ? effect(from, fromNow, to, toNow, cpus) : undefined;
  const expectedWatts = isAsThen ? effect(from, fromThen, to, toThen, after?.expectedCpus) : undefined;
  return {
    time: new Date(now).toISOString(),
    cpus: round(cpus, 3),
    ...(from && fromNow ? { from: seen(from, fromNow) } : {}),
    ...(to && toNow ? { to: seen(to, toNow) } : {}),
    ...(watts === undefined ? {} : { watts: round(watts, 1) }),
    ...(expectedWatts === undefined ? {} : { expectedWatts: round(expectedWatts, 1) }),
  };
}

/** One that is not measured uses what it is taken to. */
function busyNow(estate: Estate, host: HostView): Busy {
  const index = indexOf(estate);
  const machines = index.machinesOn(host.name).flatMap((at) => index.machines[at] ?? []);
  const used = (machine: MachineView) => machine.use?.cpus ?? drawOn(machine, host) * processorsOf(host);
  return { machines: machines.length, cpus: machines.reduce((sum, machine) => sum + used(machine), 0) };
}

/** Apart from so many. */
const isEmpty = (host: Busy | undefined, but: number): boolean => host !== undefined && host.machines <= but;

const expected = (figures: BothHosts["from"]): Busy | undefined =>
  figures?.expectedCpus === undefined
    ? undefined
    : { machines: figures.machines, cpus: figures.expectedCpus };

function seen(host: HostView, { machines, cpus }: Busy): { cpus: number; watts?: number } {
  const watts = wattsOf(host, machines, cpus);
  return { cpus: round(cpus, 3), ...(watts === undefined ? {} : { watts: round(watts, 1) }) };
}

/** As goals.ts has it: an empty host is none that has to be on. */
function wattsOf(host: HostView, machines: number, cpus: number): number | undefined {
  const curve = curveOf(host);
  return curve && (machines <= 0 ? 0 : wattsAt(curve, cpus / processorsOf(host)));
}

/** By how much more both hosts take because the machine, which uses so many processors, is on `to` and not on `from`. */
function effect(
  from: HostView | undefined,
  left: Busy | undefined,
  to: HostView | undefined,
  reached: Busy | undefined,
  cpus: number | undefined,
): number | undefined {
  if (!from || !left || !to || !reached || cpus === undefined) return undefined;
  const [without, with_] = [
    wattsOf(to, reached.machines - 1, reached.cpus - cpus),
    wattsOf(to, reached.machines, reached.cpus),
  ];
  const [now, before] = [
    wattsOf(from, left.machines, left.cpus),
    wattsOf(from, left.machines + 1, left.cpus + cpus),
  ];
  if (without === undefined || with_ === undefined || now === undefined || before === undefined)
    return undefined;
  return with_ - without - (before - now);
}
