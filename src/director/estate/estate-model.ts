/** The numbers of an estate, as the solver's model (solver/model.ts) has them: what hosts have, what machines need, and what policies say of machines together. Pure. */
import { DOMAINS, mostOf, type Policy } from "../kinds.ts";
import { type Model, makeTallies, type TallySpec } from "../solver/model.ts";
import { domainOf, type HostView, type Level, type MachineView } from "./estate.ts";
import { busyOf, FULL, noiseOf, processorsOf, roomOf, unsureOf } from "./use.ts";

/**
 * CPUs, memory and throughput of disks and networks as declared (rules/overcommit.ts names them), and as measured: processors, then the others (FLOWS), and by how much
 * processors vary; how many machines are sensitive to latency; and how far those that were not measured may be off.
 */
export const RESOURCES = 13;
/** Of these no host gives more than it has; those behind them only guide what need not be. */
export const DECLARED = 5;
export const BUSY = 5;
/** Memory, requests a second, bytes a second of disks and of networks, as measured: each with the declared one that it is measured by. */
export const FLOWS = [
  { measured: 6, declared: 1, of: "memoryBytes" },
  { measured: 7, declared: 2, of: "iops" },
  { measured: 8, declared: 3, of: "diskBytes" },
  { measured: 9, declared: 4, of: "networkBytes" },
] as const;
export const NOISE = 10;
export const SENSITIVE = 11;
export const UNSURE = 12;
/** Of what a host says nothing. Sums with it are exact. */
const UNSAID = 2 ** 50;
/** No host is ever full of it: sums are looked at, not what is left. */
const NEVER = 2 ** 44;
const BYTES_A_MBIT = 125_000;

export const capacityOf = (host: HostView): number[] => {
  const { iops = UNSAID, diskBytes = UNSAID, networkBytes = UNSAID } = host.budget ?? {};
  const declared = [host.cpus, host.memoryBytes, iops, diskBytes, networkBytes];
  const [, own = 0, ...flows] = baseOf(host);
  // Memory that is there for all need not be measured.
  const memory = host.memoryBytes > own ? own : UNSAID;
  return [...declared, roomOf(host), memory, ...flows, NEVER, NEVER, NEVER];
};
/** What limits of policies are shares of. */
export const baseOf = (host: HostView): number[] => {
  const { iops = UNSAID, diskBytes = UNSAID, networkBytes } = host.budget ?? {};
  const { ownMemoryBytes = host.memoryBytes } = host;
  const link = host.linkMbps * BYTES_A_MBIT || UNSAID;
  return [processorsOf(host), ownMemoryBytes, iops, diskBytes, networkBytes ?? link];
};
export const demandOf = (machine: MachineView): number[] =>
  putDemand(machine, new Array<number>(RESOURCES), 0);
/** Writes it there. */
function putDemand<T extends number[] | Float64Array>(machine: MachineView, into: T, begin: number): T {
  const { iops = 0, diskBytes = 0, networkBytes = 0 } = machine.io ?? {};
  into[begin] = machine.cpus;
  into[begin + 1] = machine.memoryBytes;
  into[begin + 2] = iops;
  into[begin + 3] = diskBytes;
  into[begin + 4] = networkBytes;
  for (let r = DECLARED; r < RESOURCES; r++) into[begin + r] = measuredOf(machine, r);
  return into;
}
/** What is behind the declared ones. */
export function measuredOf(machine: MachineView, r: number): number {
  if (r === BUSY) return busyOf(machine);
  if (r === SENSITIVE) return machine.latencySensitivity === "high" ? 1 : 0;
  if (r === UNSURE) return unsureOf(machine);
  const flow = FLOWS[r - BUSY - 1];
  if (!flow) return noiseOf(machine);
  // One that boots takes its memory before anybody has measured it.
  const unknown = flow.of === "memoryBytes" ? machine.memoryBytes : 0;
  return Math.round((machine.use?.demand?.[flow.of] ?? unknown) / FULL);
}

export type GroupRule = "keepApart" | "keepTogether" | "spread" | "atMost";

/** What the policy says of its machines together, as the solver knows it. */
function groupRulesOf({ spec }: Policy, chosen: number, running: () => number) {
  const rules: ({ rule: GroupRule; level: Level } & Pick<TallySpec, "most" | "maxDomains" | "even">)[] = [];
  if (spec.keepApart) rules.push({ rule: "keepApart", level: spec.keepApart, most: 1 });
  if (spec.keepTogether) rules.push({ rule: "keepTogether", level: spec.keepTogether, maxDomains: 1 });
  if (spec.spread) rules.push({ rule: "spread", level: spec.spread, even: true });
  if (spec.atMost)
    rules.push({ rule: "atMost", level: spec.atMost.per, most: mostOf(spec.atMost, chosen, running()) });
  return rules;
}

/** What a model is made of. */
interface Numbered {
  /** Of all hosts; those of the estate first. */
  names: readonly string[];
  hosts: readonly HostView[];
  machines: readonly MachineView[];
  /** Of a machine that is moving, the item that stands for it where it goes. */
  shadows: ReadonlyMap<number, number>;
  items: number;
  /** Of each host 1: it takes machines. */
  open: Uint8Array;
  policies: readonly Policy[];
  membersOf: (policy: Policy) => readonly number[];
  /** How many of them are to run. */
  runningOf: (policy: Policy) => number;
}

export type TalliesOf = Map<Policy, Partial<Record<GroupRule, number>>>;

/** @returns also which tallies each policy has */
export function modelOf(of: Numbered): { model: Model; talliesOf: TalliesOf } {
  const { names, hosts, machines, shadows, items } = of;
  const capacity = new Float64Array(names.length * RESOURCES);
  for (const [h, host] of hosts.entries()) capacity.set(capacityOf(host), h * RESOURCES);
  const demand = new Float64Array(items * RESOURCES);
  for (const [i, machine] of machines.entries()) putDemand(machine, demand, i * RESOURCES);
  for (const [i, shadow] of shadows) putDemand(machines[i] as MachineView, demand, shadow * RESOURCES);
  const { tallies, talliesOf } = makeGroups(of);
  const model = {
    resources: RESOURCES,
    terms: 0,
    hosts: names.length,
    items,
    transient: 0,
    capacity,
    price: new Float64Array(RESOURCES),
    demand,
    base: new Float64Array(0),
    increment: new Float64Array(0),
    home: new Int32Array(items).fill(-1),
    moveCost: new Float64Array(items),
    distanceWeight: 0,
    services: 0,
    serviceWeight: 0,
    tallies,
  };
  return { model, talliesOf };
}

function makeGroups({ names, hosts, shadows, items, open, policies, ...of }: Numbered) {
  const levels = DOMAINS.map((level) => {
    const known = new Map<string, number>();
    return Int32Array.from(names, (name, h) => {
      const host = hosts[h];
      const domain = host ? domainOf(host, level) : `\n${name}`;
      const number = known.get(domain) ?? known.size;
      known.set(domain, number);
      return number;
    });
  });
  const specs: TallySpec[] = [];
  const talliesOf: TalliesOf = new Map();
  for (const policy of policies) {
    const chosen = of.membersOf(policy);
    const rules = groupRulesOf(policy, chosen.length, () => of.runningOf(policy));
    if (rules.length === 0) continue;
    const moving = shadows.size === 0 ? [] : chosen.flatMap((i) => shadows.get(i) ?? []);
    const members = moving.length === 0 ? chosen : [...chosen, ...moving];
    const own: Partial<Record<GroupRule, number>> = {};
    for (const { rule, level, ...limits } of rules)
      own[rule] = specs.push({ level: DOMAINS.indexOf(level), members, ...limits }) - 1;
    talliesOf.set(policy, own);
  }
  return { tallies: makeTallies(items, levels, specs, open), talliesOf };
}
