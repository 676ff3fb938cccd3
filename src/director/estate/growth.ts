/**
 * An index of an estate that is kept while machines come, change and go: each has a place in the estate's list, and what is there is another machine from then on,
 * or the same with other needs. Places are free where a stand-in is, which no policy chooses. Pure.
 */
import { mostOf, type Policy } from "../kinds.ts";
import type { Model } from "../solver/model.ts";
import type { Chosen } from "./chosen.ts";
import type { MachineView } from "./estate.ts";
import { demandOf, RESOURCES, type TalliesOf } from "./estate-model.ts";
import type { Sight } from "./sight.ts";

/** For a place where no machine is. @param n of each place another */
export const standIn = (n: number): MachineView => ({
  key: `\nfree ${n}`,
  namespace: "",
  name: "",
  labels: {},
  cpus: 0,
  memoryBytes: 0,
  movable: false,
  since: 0,
});

/** Of the index. */
interface Parts {
  machines: MachineView[];
  position: Map<string, number>;
  hostAt: ReadonlyMap<string, number>;
  chosen: Chosen;
  talliesOf: TalliesOf;
  model: Model;
  sight: Sight;
  /** Of a machine that is moving, the item that stands for it where it goes; and items that stand for none. */
  shadows: Map<number, number>;
  freeShadows: number[];
  /** What Tallies.reach has of a machine. */
  reachOf: (machine: MachineView, policies: readonly Policy[]) => number;
  /** Puts an item on a host; -1: on none. */
  put: (item: number, h: number) => void;
  /** The item is this machine, or stands for it. */
  standFor: (item: number, machine: MachineView) => void;
  /** What was known of the machine there holds no more; it is on no host. */
  forget: (at: number) => void;
}

export class Growth {
  private readonly of: Parts;

  constructor(of: Parts) {
    this.of = of;
  }

  /** @returns false: what the index knows of hosts and groups does not hold with it, and nothing was done */
  become(at: number, machine: MachineView): boolean {
    const { machines, position, hostAt, chosen, sight, shadows, freeShadows, put } = this.of;
    const { host, movingTo } = machine;
    const moves = movingTo !== undefined && movingTo !== host;
    if ([host, movingTo].some((name) => name !== undefined && !hostAt.has(name))) return false;
    if (moves && !shadows.has(at) && freeShadows.length === 0) return false;
    const has = chosen.find(machine);
    const before = machines[at] as MachineView;
    const had = chosen.of(at);
    const [left, joined] = differences(had, has);
    const touched = [...had, ...joined];
    const changeOf = (policy: Policy) => ({
      chosen: Number(has.includes(policy)) - Number(had.includes(policy)),
      running: Number(has.includes(policy) && !machine.off) - Number(had.includes(policy) && !before.off),
    });
    // Where it is a share of all, others that are there already would be too many.
    if (touched.some((policy) => this.most(policy, changeOf(policy)) < this.most(policy))) return false;
    if (!has.every((policy) => sight.knows(policy, machine))) return false;

    const shadow = shadows.get(at);
    put(at, -1);
    if (shadow !== undefined) put(shadow, -1);
    if (position.get(before.key) === at) position.delete(before.key);
    position.set(machine.key, at);
    machines[at] = machine;
    chosen.put(at, has);
    const items = shadow === undefined ? [at] : [at, shadow];
    for (const policy of left) this.change(policy, items, remove);
    for (const policy of joined) this.change(policy, items, insert);
    for (const policy of touched) this.limit(policy);
    for (const item of items) this.need(item, machine, has);
    this.of.forget(at);
    put(at, host === undefined ? -1 : (hostAt.get(host) ?? -1));
    if (moves) put(shadow ?? this.shadowFor(at, machine), hostAt.get(movingTo) ?? -1);
    else if (shadow !== undefined) this.release(at, shadow);
    return true;
  }

  private shadowFor(at: number, machine: MachineView): number {
    const { shadows, freeShadows, chosen } = this.of;
    const shadow = freeShadows.pop() as number;
    shadows.set(at, shadow);
    for (const policy of chosen.of(at)) this.change(policy, [shadow], insert);
    this.need(shadow, machine, chosen.of(at));
    return shadow;
  }

  private release(at: number, shadow: number): void {
    for (const policy of this.of.chosen.of(at)) this.change(policy, [shadow], remove);
    this.of.shadows.delete(at);
    this.of.freeShadows.push(shadow);
  }

  private need(item: number, machine: MachineView, policies: readonly Policy[]): void {
    this.of.model.demand.set(demandOf(machine), item * RESOURCES);
    this.of.model.tallies.reach[item] = this.of.reachOf(machine, policies);
    this.of.standFor(item, machine);
  }

  /** How many of the policy's machines may be in one domain, when it has so many more. */
  private most(policy: Policy, more = { chosen: 0, running: 0 }): number {
    const { atMost } = policy.spec;
    const { chosen, machines } = this.of;
    if (!atMost) return 0;
    return mostOf(
      atMost,
      chosen.membersOf(policy).length + more.chosen,
      chosen.runningOf(policy, machines) + more.running,
    );
  }

  private limit(policy: Policy): void {
    const { atMost } = this.of.talliesOf.get(policy) ?? {};
    if (atMost !== undefined) this.of.model.tallies.most[atMost] = this.most(policy);
  }

  /** Items are nowhere then: nothing that is counted changes by it. */
  private change(policy: Policy, items: readonly number[], act: typeof insert): void {
    const own = this.of.talliesOf.get(policy);
    if (!own) return;
    const { tallies } = this.of.model;
    for (const t of Object.values(own))
      for (const item of items) {
        tallies.members = act(tallies.memberStart, tallies.members, t, item);
        tallies.of = act(tallies.ofStart, tallies.of, item, t);
      }
  }
}

function differences<T>(before: readonly T[], now: readonly T[]): [left: T[], joined: T[]] {
  return [before.filter((one) => !now.includes(one)), now.filter((one) => !before.includes(one))];
}

/** Lists as pack has them (model.ts). @returns the array that they are in from then on */
function insert(start: Int32Array, all: Int32Array, list: number, value: number): Int32Array {
  const [end, total] = [start[list + 1] as number, start[start.length - 1] as number];
  const room = total < all.length ? all : new Int32Array(Math.ceil(total * 1.25) + 64);
  if (room !== all) room.set(all);
  room.copyWithin(end + 1, end, total);
  room[end] = value;
  for (let i = list + 1; i < start.length; i++) (start[i] as number)++;
  return room;
}

function remove(start: Int32Array, all: Int32Array, list: number, value: number): Int32Array {
  const at = all.indexOf(value, start[list]);
  all.copyWithin(at, at + 1, start[start.length - 1]);
  for (let i = list + 1; i < start.length; i++) (start[i] as number)--;
  return all;
}
