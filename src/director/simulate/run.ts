/**
 * A simulation: what a trace's machines used, on hosts that are given, moved by who decides. Simulated: hosts, time and moves; real: who decides (the director's own
 * placement and plans, or another's rules in bench/peers.ts), who at any moment knows only what was used until then. Deterministic. Pure.
 *
 *   - Memory of machines is resident: all that they are declared to have is taken of their host as long as they are there.
 *   - With PowerPolicies hosts are on as these have it (host-power.ts). Without, a host that has no machine is off, where who decides may switch hosts off; it was on for the
 *     whole step in which its last machine left, and one that is switched on takes its full watts for some minutes more.
 *   - A move takes no time; each is counted, with the memory that it sends.
 *   - Overload: the machines of a host want more than all of its processors' time.
 */

import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { UseHistory } from "../estate/history.ts";
import { tariffsOf, withTariffs } from "../estate/tariffs.ts";
import { processorsOf } from "../estate/use.ts";
import { curveOf, wattsAt } from "../estate/watts.ts";
import { survivalOf } from "../failover/failover.ts";
import type { Policy } from "../kinds.ts";
import { cpuFor, obstacle, policiesOf } from "../rules/rules.ts";
import type { Site } from "../sites.ts";
import { SimulatedPower } from "./host-power.ts";
import { STEP_MS, type Trace } from "./trace.ts";

/** Who decides. The estate is as it knows it; hosts that it closes or opens are its own matter. */
export interface Director {
  name: string;
  /** Hosts without machines are switched off. */
  switchesOff: boolean;
  /** Looks again in the same step although it moved nothing: what was measured is the same. */
  eachMinute: boolean;
  /** In what order machines are placed that come together; absent: by their names. */
  order?(machines: readonly MachineView[]): readonly MachineView[];
  /** Where the machine starts; undefined: nowhere yet, and it is asked again in the next step. */
  place(estate: Estate, machine: MachineView): string | undefined;
  /**
   * Looks at the estate each minute, from the second step on, when something was measured. @param used processors that each machine of the estate
   * used until now @returns moves that are made at once, in their order
   */
  look(estate: Estate, nowMs: number, used: Float64Array): { key: string; to: string }[];
}

export interface Setting {
  hosts: readonly HostView[];
  policies: readonly Policy[];
  trace: Trace;
  /** What power costs and emits where hosts are. */
  sites?: readonly Site[];
  /** By which hosts are on, where who decides may switch hosts off; none: those with machines are. */
  powerPolicies?: readonly PowerPolicy[];
}

/** One step. */
export interface Sample {
  hostsOn: number;
  watts: number;
  moves: number;
  /** Hosts of which more was wanted than they have. */
  overloaded: number;
  /** Machines where they may not be, and losses that would not be survived. */
  broken: number;
}

export interface Outcome {
  name: string;
  startMs: number;
  samples: Sample[];
  energyKWh: number;
  /** With what the building takes; absent where no site tells. */
  cost?: number;
  carbonKg?: number;
  /** Hosts that do not tell their watts are not in it. */
  hostsWithoutWatts: number;
  moves: number;
  movedBytes: number;
  /** By host. */
  overloadMinutes: number;
  /** Processor-minutes that machines wanted and did not get, by those that they wanted. */
  unmet: number;
  /** By machine, and by loss. */
  brokenMinutes: number;
  switchedOn: number;
  /** By machine, for which there was no host yet. */
  waitedMinutes: number;
  /** Machines for which there was no host at any time. */
  homeless: string[];
}

const MINUTE_MS = 60_000;
const LOOKS = STEP_MS / MINUTE_MS;
const STEP_MINUTES = STEP_MS / MINUTE_MS;
const BOOT_MINUTES = 3;
const NAMESPACE = "default";

/** @param told after each step, of so many */
export function simulate(
  { hosts, policies, trace, sites = [], powerPolicies = [] }: Setting,
  director: Director,
  told: (step: number) => void = () => undefined,
): Outcome {
  const history = new UseHistory();
  const hostAt = new Map(hosts.map((host, i) => [host.name, i]));
  const curves = hosts.map(curveOf);
  const power =
    director.switchesOff && powerPolicies.length > 0 ? new SimulatedPower(hosts, powerPolicies) : undefined;
  const estateOf = (list: MachineView[], now = trace.startMs): Estate => {
    const tariffs = tariffsOf(sites, now);
    const there = withTariffs(power?.hosts() ?? hosts, tariffs);
    return { now, hosts: there, machines: list, policies: [...policies], sites: tariffs, odd: [] };
  };
  let machines = trace.machines
    .map(
      ({ name, labels, cpus, memoryBytes }): MachineView => ({
        key: `${NAMESPACE}/${name}`,
        namespace: NAMESPACE,
        name,
        labels,
        cpus,
        memoryBytes,
        movable: true,
        since: trace.startMs - STEP_MS,
      }),
    )
    .map((machine, i) => ({ machine, use: trace.machines[i]?.use ?? new Float32Array() }))
    .sort((a, b) => (a.machine.key < b.machine.key ? -1 : 1));
  const positions = new Map(machines.map(({ machine }, i) => [machine.key, i]));
  const outcome: Outcome = {
    name: director.name,
    startMs: trace.startMs,
    samples: [],
    energyKWh: 0,
    hostsWithoutWatts: curves.filter((curve) => !curve).length,
    moves: 0,
    movedBytes: 0,
    overloadMinutes: 0,
    unmet: 0,
    brokenMinutes: 0,
    switchedOn: 0,
    waitedMinutes: 0,
    homeless: [],
  };
  let wanted = 0;
  let unmet = 0;

  const start = estateOf(machines.map(({ machine }) => machine));
  const isOn = hosts.map(() => !director.switchesOff || power !== undefined);
  const all = [...start.machines];
  for (const { key } of director.order?.(all) ?? all) {
    const each = machines[positions.get(key) ?? -1];
    if (!each) continue;
    const host = director.place(start, each.machine);
    if (host !== undefined) {
      each.machine = { ...each.machine, host, ...platformOn(start, each.machine, host) };
      start.machines[positions.get(each.machine.key) ?? -1] = each.machine;
    }
    if (host !== undefined) isOn[hostAt.get(host) ?? -1] = true;
  }
  const everyone = machines;
  const ruled = everyone.some(({ machine }) => policiesOf(start, machine).some(({ spec }) => hasRules(spec)));

  /** What has no host takes no part. */
  let waiting: typeof machines = [];
  const sort = () => {
    machines = everyone.filter(({ machine }) => machine.host !== undefined);
    waiting = everyone.filter(({ machine }) => machine.host === undefined);
    positions.clear();
    for (const [i, { machine }] of machines.entries()) positions.set(machine.key, i);
  };
  sort();
  const withUse = (at: number, of = machines) =>
    of.map(({ machine }) => {
      const use = history.useOf(machine.key, at);
      return use ? { ...machine, use } : machine;
    });
  /** Those that wait try again: prices change, hosts come on, others leave. */
  const placeWaiting = (at: number) => {
    const estate = estateOf(withUse(at, everyone), at);
    for (const [i, each] of everyone.entries()) {
      if (each.machine.host !== undefined) continue;
      const host = director.place(estate, each.machine);
      if (host === undefined) continue;
      each.machine = { ...each.machine, host, since: at, ...platformOn(estate, each.machine, host) };
      estate.machines[i] = each.machine;
    }
    sort();
  };

  for (let step = 0; step < trace.steps; step++) {
    const nowMs = trace.startMs + step * STEP_MS;
    if (step > 0 && waiting.length > 0) placeWaiting(nowMs);
    outcome.waitedMinutes += waiting.length * STEP_MINUTES;
    const used = new Set<number>();
    const note = () => {
      for (const { machine } of machines) used.add(hostAt.get(machine.host ?? "") ?? -1);
    };
    note();
    let moves = 0;
    const measured = Float64Array.from(machines, ({ use }) => use[step - 1] ?? 0);
    /** Something is other than as it looked last. */
    let anew = true;
    for (let look = 0; step > 0 && look < LOOKS; look++) {
      const at = nowMs + look * MINUTE_MS;
      if (!anew && !director.eachMinute && !power) break;
      const chosen: { key: string; to: string }[] =
        anew || director.eachMinute ? director.look(estateOf(withUse(at), at), at, measured) : [];
      for (const { key, to } of chosen) {
        const each = machines[positions.get(key) ?? -1];
        if (!each?.machine.host || each.machine.host === to) continue;
        const left = each.machine.left ?? [];
        each.machine = {
          ...each.machine,
          host: to,
          since: at,
          left: [...left, { host: each.machine.host, at }],
        };
        moves++;
        outcome.movedBytes += each.machine.memoryBytes;
      }
      anew = chosen.length > 0;
      const changed = look === 0 || chosen.length > 0;
      const all = () => estateOf(withUse(at, everyone), at);
      const waits = waiting.map(({ machine }) => machine.key);
      if (power?.minute(all, at, changed, waits)) anew = true;
    }
    note();
    // In the first step nobody looks: all are on as they were.
    const shares = step > 0 ? power?.take(LOOKS) : undefined;

    const load = new Float64Array(hosts.length);
    for (const { machine, use } of machines) {
      const cpus = use[step] as number;
      const h = hostAt.get(machine.host ?? "") ?? -1;
      load[h] = (load[h] ?? 0) + cpus;
      history.observe(machine.key, nowMs, cpus);
    }
    const tariffs = tariffsOf(sites, nowMs);
    const sample: Sample = { hostsOn: 0, watts: 0, moves, overloaded: 0, broken: 0 };
    for (const [h, host] of hosts.entries()) {
      const share = shares ? (shares.on[h] ?? 0) : 1;
      const on = power ? share > 0 : !director.switchesOff || used.has(h);
      const boots = on && !isOn[h];
      isOn[h] = on;
      if (!on) continue;
      sample.hostsOn++;
      const processors = processorsOf(host);
      const curve = curves[h];
      const wants = load[h] as number;
      wanted += wants;
      if (wants > processors) {
        sample.overloaded++;
        unmet += wants - processors;
      }
      if (boots) outcome.switchedOn++;
      if (!curve) continue;
      const booting = shares ? (shares.booting[h] ?? 0) : 0;
      const boot = power ? booting : boots ? BOOT_MINUTES / STEP_MINUTES : 0;
      const watts = wattsAt(curve, wants / processors) * (share - booting) + wattsAt(curve, 1) * boot;
      sample.watts += watts;
      const { pue = 1, price, carbon } = tariffs.get(host.site) ?? {};
      const kWh = (watts * pue * STEP_MINUTES) / 60 / 1000;
      if (price !== undefined) outcome.cost = (outcome.cost ?? 0) + kWh * price;
      if (carbon !== undefined) outcome.carbonKg = (outcome.carbonKg ?? 0) + (kWh * carbon) / 1000;
    }
    if (ruled) sample.broken = brokenIn(estateOf(withUse(nowMs), nowMs));
    outcome.samples.push(sample);
    outcome.energyKWh += (sample.watts * STEP_MINUTES) / 60 / 1000;
    outcome.moves += moves;
    outcome.overloadMinutes += sample.overloaded * STEP_MINUTES;
    outcome.brokenMinutes += sample.broken * STEP_MINUTES;
    told(step + 1);
  }
  outcome.homeless = waiting.map(({ machine }) => machine.name);
  outcome.unmet = wanted > 0 ? unmet / wanted : 0;
  return outcome;
}

/** What its guest sees from then on: hosts that cannot give it that are none for a move. */
function platformOn(estate: Estate, machine: MachineView, on: string): Pick<MachineView, "platform"> {
  const host = estate.hosts.find(({ name }) => name === on);
  if (!host) return {};
  const { accelerator, cpuModel } = host;
  const guestCpu = cpuFor(estate, machine, host);
  return { platform: { accelerator, cpuModel, ...(guestCpu ? { guestCpu } : {}) } };
}

const hasRules = ({ required, ...of }: Policy["spec"]) =>
  (required?.length ?? 0) > 0 ||
  [of.keepApart, of.keepTogether, of.spread, of.atMost, of.overcommit, of.failover].some(
    (rule) => rule !== undefined,
  );

/** Machines that may not be where they are, and losses that would not be survived. */
function brokenIn(estate: Estate): number {
  const hosts = new Map(estate.hosts.map((host) => [host.name, host]));
  const misplaced = estate.machines.filter((machine) => {
    const host = hosts.get(machine.host ?? "");
    return host !== undefined && obstacle(estate, machine, host) !== undefined;
  });
  return misplaced.length + (survivalOf(estate)?.faults().length ?? 0);
}
