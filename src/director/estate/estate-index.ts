/**
 * The estate as the solver's model (solver/model.ts), made once, and what is asked of it again and again: what is on each host, which policies choose a machine,
 * where a policy's machines are, which host a machine would like best. Kept with the estate; a move carries it on to the estate after the move.
 */

import type { Policy } from "../kinds.ts";
import { Shelves } from "../solver/shelves.ts";
import { State } from "../solver/state.ts";
import { isCurved } from "./added-watts.ts";
import { Aims } from "./aims.ts";
import { Carriers } from "./carriers.ts";
import { Ceilings } from "./ceilings.ts";
import { Chosen, NO_POLICIES } from "./chosen.ts";
import { type HostKinds, hostKinds } from "./classes.ts";
import { Draws } from "./draws.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import { BUSY, demandOf, type GroupRule, modelOf, RESOURCES, type TalliesOf } from "./estate-model.ts";
import { type Aim, type Clocks, clocksOf } from "./goals.ts";
import { Growth } from "./growth.ts";
import { Likings } from "./likings.ts";
import { Load } from "./load.ts";
import { MachineKinds } from "./machine-kinds.ts";
import { Neighbours } from "./neighbours.ts";
import { Sight } from "./sight.ts";
import { SpreadReach } from "./spread-reach.ts";
import { NO_TARIFFS } from "./tariffs.ts";
import { LEVELS, levelOf } from "./watts.ts";

export interface Use {
  cpus: number;
  memoryBytes: number;
  /** Thousandths of a processor, as measured (use.ts). */
  busy: number;
  machines: number;
}

export class EstateIndex {
  readonly hosts: ReadonlyMap<string, HostView>;
  /** Where each machine is in the estate's list. */
  readonly position: Map<string, number>;
  readonly machines: MachineView[];
  readonly clocks: Clocks;
  readonly mostSockets: number;
  readonly state: State;
  readonly shelves: Shelves;
  /** How busy hosts are. */
  readonly load: Load;
  /** What their watts are reckoned by. */
  private readonly draws: Draws;
  /** Undefined: no policy limits what hosts give out. */
  readonly ceilings: Ceilings | undefined;
  /** Of the estate, in its order; those behind them are only known by name. */
  private readonly list: readonly HostView[];
  private readonly names: string[];
  private readonly hostAt = new Map<string, number>();
  private readonly chosen: Chosen;
  private readonly tallies: TalliesOf;
  /** Of a machine that is moving, the item that stands for it where it goes. */
  private readonly shadows = new Map<number, number>();
  private readonly growth: Growth;
  readonly sight: Sight;
  private readonly aims: Aims;
  private readonly carriers: Carriers;
  private readonly neighbours: Neighbours;
  private readonly kinds: HostKinds;
  private readonly machineKinds: MachineKinds;
  /** How machines like hosts. */
  readonly likings: Likings;
  /** Policies that limit what hosts give out; and by the policies of a machine, whether others than these do. */
  private readonly limiting: readonly Policy[];
  private readonly othersLimiting = new Map<readonly Policy[], boolean>();
  private counted: readonly { example: HostView; hosts: number }[] | undefined;
  /** Told of each machine that is put elsewhere. */
  onMove: ((at: number, from: number, to: number) => void) | undefined;
  /** Told of each place in the estate's list where another machine is from then on, while that is on no host. */
  onBecome: ((at: number) => void) | undefined;

  /** @param moving so many more machines may be moving, once it is carried on (become) */
  constructor(estate: Estate, moving = 0) {
    this.list = estate.hosts;
    this.hosts = new Map(estate.hosts.map((host) => [host.name, host]));
    this.position = new Map();
    for (const [i, { key }] of estate.machines.entries()) this.position.set(key, i);
    this.machines = [...estate.machines];
    this.clocks = clocksOf(estate.hosts);
    this.mostSockets = estate.hosts.reduce((most, { sockets = 1 }) => Math.max(most, sockets), 1);
    const sites = estate.sites ?? NO_TARIFFS;
    this.aims = new Aims({ ...(estate.now === undefined ? {} : { now: estate.now }), sites });
    this.names = estate.hosts.map(({ name }) => name);
    for (const [i, name] of this.names.entries()) this.hostAt.set(name, i);
    this.chosen = new Chosen(estate);
    const at = this.whereAll(moving);
    const open = Uint8Array.from({ length: this.names.length }, (_, h) =>
      h < this.list.length && this.list[h]?.closed === undefined ? 1 : 0,
    );
    const membersOf = (policy: Policy) => this.membersOf(policy);
    const { model, talliesOf } = modelOf({
      names: this.names,
      hosts: this.list,
      machines: this.machines,
      shadows: this.shadows,
      items: at.length,
      open,
      ...{ policies: estate.policies, membersOf },
      runningOf: (policy) => this.runningOf(policy),
    });
    this.tallies = talliesOf;
    this.state = new State(model, at);
    this.load = new Load(this.state, this.position);
    this.draws = new Draws(this.list, this.machines, this.shadows, this.state);
    const { state, machines, hosts, chosen, clocks, mostSockets } = this;
    const members = { state, machines, membersOf, itemsOf: (key: string | undefined) => this.itemsOf(key) };
    this.carriers = new Carriers(members);
    this.neighbours = new Neighbours(members);
    this.sight = new Sight(estate.hosts, estate.policies, (policy) =>
      membersOf(policy).map((i) => this.machines[i] as MachineView),
    );
    this.kinds = hostKinds(estate.hosts, this.sight, sites);
    const reach = new SpreadReach({
      ...{ hosts: this.list, kinds: this.kinds, sight: this.sight, tallies: model.tallies },
      ...{ count: this.names.length, contentOf: (policy) => chosen.contentOf(policy) },
    });
    if (estate.policies.some(({ spec }) => spec.spread))
      for (const [i, machine] of machines.entries()) {
        const number = reach.find(machine, chosen.of(i));
        if (number !== 0) for (const item of this.itemsOf(machine.key)) model.tallies.reach[item] = number;
      }
    this.machineKinds = new MachineKinds({
      hosts,
      machines,
      examples: this.kinds.examples,
      chosen,
      sight: this.sight,
      policiesOf: (machine) => this.policiesOf(machine),
      yardsticks: (policy) => ({ aim: this.aimOf(policy), sites, clocks, mostSockets }),
    });
    // Hosts that are only known by name are of a kind of their own.
    const kindOf = new Int32Array(this.names.length).fill(this.kinds.examples.length);
    kindOf.set(this.kinds.of);
    this.shelves = new Shelves(this.state, kindOf, this.kinds.examples.length + 1, open, {
      count: LEVELS,
      told: Uint8Array.from(this.kinds.examples, (host) => (isCurved(host) ? 1 : 0)),
      of: (h, without) => levelOf(this.draws.shareOf(h, without)),
    });
    this.limiting = estate.policies.filter(({ spec }) => spec.overcommit);
    if (this.limiting.length > 0) {
      this.ceilings = new Ceilings(this.list, this.shelves);
      for (const [item, h] of this.state.at.entries())
        if (h >= 0) this.ceilings.moved(item, -1, h, this.policiesOfItem(item));
    }
    this.likings = new Likings({
      ...{ machines, state, position: this.position, shelves: this.shelves, ceilings: this.ceilings },
      ...{ carriers: this.carriers, kinds: this.kinds, machineKinds: this.machineKinds, draws: this.draws },
      hosts: estate.hosts.length,
      hostNumber: (name) => this.hostNumber(name),
      kindOfHost: (h) => this.kindOfHost(h),
      policiesOf: (machine) => this.policiesOf(machine),
    });
    this.growth = new Growth({
      machines: this.machines,
      position: this.position,
      hostAt: this.hostAt,
      chosen: this.chosen,
      talliesOf,
      model,
      sight: this.sight,
      shadows: this.shadows,
      reachOf: (machine, policies) => reach.find(machine, policies),
      freeShadows: Array.from({ length: moving }, (_, i) => at.length - 1 - i),
      put: (item, h) => this.put(item, h),
      standFor: (item, machine) => this.draws.become(item, machine),
      forget: (place) => {
        this.machineKinds.forget(place);
        this.onBecome?.(place);
      },
    });
  }

  /** Has another machine from now on in a place of the estate's list, or the same with other needs. @returns false: the index has to be made anew for that */
  become(at: number, machine: MachineView): boolean {
    return this.growth.become(at, machine);
  }

  /** Hosts that no rule can tell apart: one of each kind, and how many there are. */
  kindsOfHosts(): readonly { example: HostView; hosts: number }[] {
    this.counted ??= this.kinds.examples.map((example, kind) => ({
      example,
      hosts: this.kinds.of.reduce((sum, of) => sum + (of === kind ? 1 : 0), 0),
    }));
    return this.counted;
  }

  /** What the policy aims at now; of none: what a machine without policy does. */
  aimOf(policy: Policy | undefined): Aim {
    return this.aims.of(policy);
  }

  /** How many of the policy's other machines the host has. */
  licensed(policy: Policy | undefined, machine: MachineView, host: HostView): number {
    const h = this.hostAt.get(host.name);
    return policy && h !== undefined ? this.carriers.others(policy, machine, h) : 0;
  }

  /** Highest priority first; ties by name. */
  policiesOf(machine: MachineView): readonly Policy[] {
    const at = this.position.get(machine.key);
    // A view of it that is not the estate's may have other labels.
    return at !== undefined && this.machines[at]?.labels === machine.labels
      ? this.chosen.of(at)
      : this.chosen.find(machine);
  }

  /** The same of the machine at this place in the estate's list. */
  policiesAt(at: number): readonly Policy[] {
    return this.chosen.of(at);
  }

  private policiesOfItem(item: number): readonly Policy[] {
    if (item < this.machines.length) return this.chosen.of(item);
    for (const [at, shadow] of this.shadows) if (shadow === item) return this.chosen.of(at);
    return NO_POLICIES;
  }

  /** Where the machines that the policy chooses are in the estate's list. */
  membersOf(policy: Policy): number[] {
    return this.chosen.membersOf(policy);
  }

  /** How many of them are to run. */
  runningOf(policy: Policy): number {
    return this.chosen.runningOf(policy, this.machines);
  }

  /** The host of each item; machines first, then those that are on their way, where they go. @param more so many that stand for none */
  private whereAll(more: number): Int32Array {
    const at: number[] = [];
    for (const { host } of this.machines) at.push(host === undefined ? -1 : this.numberOf(host));
    for (const [i, { movingTo, host }] of this.machines.entries()) {
      if (movingTo === undefined || movingTo === host) continue;
      this.shadows.set(i, at.length);
      at.push(this.numberOf(movingTo));
    }
    for (let i = 0; i < more; i++) at.push(-1);
    return Int32Array.from(at);
  }

  /** Also of a host that is only known by name. */
  private numberOf(host: string): number {
    const known = this.hostAt.get(host);
    if (known !== undefined) return known;
    this.hostAt.set(host, this.names.length);
    return this.names.push(host) - 1;
  }

  /** Of a host, with all that is or will be there; `without` leaves one machine out. */
  use(host: string, without?: string): Use {
    const taken = this.taken(host, without);
    const [cpus = 0, memoryBytes = 0] = taken;
    const h = this.hostNumber(host);
    const own = this.itemsOf(without).filter((item) => h >= 0 && this.state.at[item] === h).length;
    const machines = (this.state.itemsOn[h] ?? 0) - own;
    return { cpus, memoryBytes, busy: taken[BUSY] ?? 0, machines };
  }

  /** The share of the host's processors' time by which its watts are reckoned; `without` leaves one machine out. */
  shareOf(host: string, without?: string): number {
    const h = this.hostNumber(host);
    const at = this.position.get(without ?? "") ?? -1;
    return h < 0 ? 0 : this.draws.shareOf(h, this.state.at[at] === h ? at : -1);
  }

  /** Of each resource. */
  taken(host: string, without?: string): number[] {
    const h = this.hostNumber(host);
    if (h < 0) return new Array<number>(RESOURCES).fill(0);
    const { free, model, at } = this.state;
    const taken: number[] = [];
    for (let r = 0, i = h * RESOURCES; r < RESOURCES; r++, i++)
      taken.push((model.capacity[i] as number) - (free[i] as number));
    for (const item of this.itemsOf(without)) {
      if (at[item] !== h) continue;
      for (let r = 0; r < RESOURCES; r++)
        (taken[r] as number) -= model.demand[item * RESOURCES + r] as number;
    }
    return taken;
  }

  /** The share of the host that would be free with the machine, of its scarcest resource; its own counts once, also where it is already. */
  roomWith(machine: MachineView, host: string): number {
    const h = this.hostNumber(host);
    const taken = this.taken(host, machine.key);
    const { capacity } = this.state.model;
    const shares = demandOf(machine).map(
      (need, r) => ((taken[r] as number) + need) / (capacity[h * RESOURCES + r] as number),
    );
    return Math.max(0, 1 - Math.max(...shares));
  }

  /** Policies that limit what the host gives out, of the other machines that are there or on their way there. @param mine but for these, which choose the machine */
  limitsOfOthers(host: string, key: string, mine: readonly Policy[]): Policy[] {
    const found: Policy[] = [];
    if (!this.othersLimit(mine)) return found;
    const own = this.itemsOf(key);
    const { first, next } = this.state;
    for (let item = first[this.hostNumber(host)] ?? -1; item >= 0; item = next[item] as number)
      if (!own.includes(item))
        for (const policy of this.policiesOfItem(item))
          if (policy.spec.overcommit && !mine.includes(policy) && !found.includes(policy)) found.push(policy);
    return found;
  }

  /** Whether any other policy than these limits what hosts give out. */
  private othersLimit(mine: readonly Policy[]): boolean {
    const known = this.othersLimiting.get(mine);
    if (known !== undefined) return known;
    const limited = this.limiting.some((policy) => !mine.includes(policy));
    this.othersLimiting.set(mine, limited);
    return limited;
  }

  /** One, or two while it moves. */
  private itemsOf(key: string | undefined): number[] {
    const i = key === undefined ? undefined : this.position.get(key);
    const shadow = i === undefined ? undefined : this.shadows.get(i);
    return i === undefined ? [] : shadow === undefined ? [i] : [i, shadow];
  }

  get(key: string): MachineView | undefined {
    const at = this.position.get(key);
    return at === undefined ? undefined : this.machines[at];
  }

  /** Of the policy's other machines: how many share the host's domain, how many do not, how many the least taken open domain has, and one of each. */
  group(policy: Policy, rule: GroupRule, machine: MachineView, host: HostView) {
    const t = this.tallies.get(policy)?.[rule];
    const h = this.hostAt.get(host.name);
    if (t === undefined || h === undefined) return undefined;
    const { counts, at, model } = this.state;
    const { domains, level } = model.tallies;
    const domain = (i: number) => domains[(level[t] as number) * model.hosts + i] as number;
    const own = this.itemsOf(machine.key).filter((item) => (at[item] as number) >= 0);
    const here =
      counts.countIn(t, domain(h)) - own.filter((item) => domain(at[item] as number) === domain(h)).length;
    return {
      here,
      most: model.tallies.most[t] as number,
      elsewhere: (counts.placed[t] as number) - own.length - here,
      fewest: () => counts.fewestWithout(t, own[0] ?? this.position.get(machine.key) ?? -1),
      oneHere: () => this.neighbours.oneIn(policy, t, domain(h), machine),
      oneElsewhere: () => this.neighbours.oneOutside(policy, t, domain(h), machine),
    };
  }

  /** Puts a machine on a host of the estate. */
  move(key: string, to: string): MachineView | undefined {
    const at = this.position.get(key);
    const before = at === undefined ? undefined : this.machines[at];
    if (at === undefined || !before) return undefined;
    this.put(at, this.hostAt.get(to) ?? -1);
    const after = { ...before, host: to };
    this.machines[at] = after;
    this.machineKinds.moved(at, before, after);
    return after;
  }

  private put(item: number, h: number): void {
    const from = this.state.at[item] as number;
    this.draws.moved(item, from, h);
    this.shelves.move(item, h);
    this.ceilings?.moved(item, from, h, this.policiesOfItem(item));
    this.carriers.changed();
    this.neighbours.changed();
    this.onMove?.(item, from, h);
  }

  /** Takes it back there, as it was. */
  restore(at: number, before: MachineView): void {
    this.put(at, before.host === undefined ? -1 : (this.hostAt.get(before.host) ?? -1));
    const after = this.machines[at];
    this.machines[at] = before;
    this.machineKinds.moved(at, before, after);
  }

  /** Where the machines that are on the host, not on their way there, are in the estate's list. */
  machinesOn(host: string): number[] {
    const machines: number[] = [];
    const { first, next } = this.state;
    for (let item = first[this.hostNumber(host)] ?? -1; item >= 0; item = next[item] as number)
      if (item < this.machines.length) machines.push(item);
    return machines;
  }

  hostNumber(name: string): number {
    return this.hostAt.get(name) ?? -1;
  }

  hostOf(h: number): HostView | undefined {
    return this.list[h];
  }

  /** The kind of a host of the estate, or of one that is only known by name. */
  kindOfHost(h: number): number {
    return this.kinds.of[h] ?? this.kinds.examples.length;
  }
}

const indexes = new WeakMap<Estate, EstateIndex>();

export function indexOf(estate: Estate): EstateIndex {
  const known = indexes.get(estate);
  if (known) return known;
  const index = new EstateIndex(estate);
  indexes.set(estate, index);
  return index;
}

/** The estate has this index, from now on. */
export const useIndex = (estate: Estate, index: EstateIndex) => void indexes.set(estate, index);

/** The estate's index is another one's from now on. */
export function handOver(estate: Estate, to: Estate): void {
  indexes.set(to, indexOf(estate));
  indexes.delete(estate);
}
