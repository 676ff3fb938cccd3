/**
 * How machines like hosts: what one looks for, how well it likes where it is, and which host it would like best. By kinds of hosts and machines (classes.ts), on the
 * shelves of the solver. Pure.
 */
import type { Policy } from "../kinds.ts";
import { isBetter, type Shelves, type Want } from "../solver/shelves.ts";
import type { State } from "../solver/state.ts";
import type { Carriers } from "./carriers.ts";
import type { Ceilings } from "./ceilings.ts";
import { NO_POLICIES } from "./chosen.ts";
import type { HostKinds, Likes, MachineKind } from "./classes.ts";
import type { Draws } from "./draws.ts";
import type { MachineView } from "./estate.ts";
import { DECLARED, demandOf } from "./estate-model.ts";
import type { MachineKinds } from "./machine-kinds.ts";

/** Of hosts with machines of one policy these many are looked at for its licences. */
const CARRIERS = 64;

/** The machine as it starts anew, wherever that is. */
export function anew(machine: MachineView): MachineView {
  const { host: _, movingTo: __, platform: ___, ...rest } = machine;
  return rest;
}

/** The likings of a kind of machine, where it is not asked what others do on a host; the same for all of that kind. */
export interface Taste extends Likes {
  kind: MachineKind;
  /** Watts that are measured by: what it would add where it adds most. */
  dearest: number;
}

export interface Seek {
  want: Want;
  machine: MachineView;
  /** It likes hosts that others of the policy are on. */
  licences?: { policy: Policy; kind: MachineKind };
  /** Watts that it would add where it adds most. */
  dearestWatts: number;
  /** Of a machine that is on a host of the estate; `stays`: it may be there, as far as kinds, room and groups say. */
  now?: { host: number; like: number; stays: boolean };
}

/** Of the index. */
interface Parts {
  machines: readonly MachineView[];
  /** Where each machine is in the estate's list. */
  position: ReadonlyMap<string, number>;
  state: State;
  shelves: Shelves;
  ceilings: Ceilings | undefined;
  carriers: Carriers;
  kinds: HostKinds;
  machineKinds: MachineKinds;
  /** How many the estate has; those behind them are only known by name. */
  hosts: number;
  hostNumber: (name: string) => number;
  /** Of a host of the estate, or of one that is only known by name. */
  kindOfHost: (h: number) => number;
  draws: Draws;
  policiesOf: (machine: MachineView) => readonly Policy[];
}

export class Likings {
  private readonly of: Parts;
  private readonly tastes = new Map<MachineKind, { version: number; taste: Taste }>();

  constructor(of: Parts) {
    this.of = of;
  }

  /** Whether hosts of such a kind may start the machine anew, as after its host is lost: by shelf, -Infinity: they may not. */
  startLikes(at: number): Float64Array | undefined {
    const machine = this.of.machines[at];
    return machine && this.seek(anew(machine))?.want.likes;
  }

  /** How one of the estate's machines likes hosts by their kind, apart from room, where any host might be empty. */
  tasteOf(at: number): Taste {
    const kind = this.of.machineKinds.of(at, this.of.machines[at] as MachineView);
    const known = this.tastes.get(kind);
    if (known?.version === this.of.shelves.version) return known.taste;
    const dearest = kind.dearestWattsOfAny(this.of.shelves);
    const taste = { kind, dearest, ...kind.evenLikesAt(dearest) };
    this.tastes.set(kind, { version: this.of.shelves.version, taste });
    return taste;
  }

  /** What one of the estate's machines looks for, and how it likes where it is; also of another view of it. Undefined: it is not of the estate. */
  seek(machine: MachineView): Seek | undefined {
    const at = this.of.position.get(machine.key);
    return at === undefined ? undefined : this.seekAt(at, machine);
  }

  /** The same for who knows where it is in the estate's list. @param machine as the list has it, and then its host is the one that the index has it on by now; or another view of it */
  seekAt(at: number, machine: MachineView): Seek {
    const kind = this.of.machineKinds.of(at, machine);
    const { state, shelves } = this.of;
    const h =
      machine === this.of.machines[at] ? (state.at[at] as number) : this.of.hostNumber(machine.host ?? "");
    const hostKind = h < 0 || h >= this.of.hosts ? undefined : (this.of.kinds.of[h] as number);
    const onlyOne = h >= 0 && (state.itemsOn[h] as number) === 1 && state.at[at] === h;
    const dearest = kind.dearestWatts(shelves, onlyOne ? hostKind : undefined);
    const { likes, order } = kind.likesAt(dearest);
    const demand = demandOf(machine);
    const want: Want = { item: at, demand, binding: DECLARED, likes, order, room: kind.room };
    const shares = this.of.ceilings?.sharesOf(this.of.policiesOf(machine));
    if (shares && this.of.ceilings) want.ceilings = { shares, base: this.of.ceilings.base };
    const bend = kind.bendAt(dearest);
    if (bend) want.bend = bend;
    const seek: Seek = { want, machine, dearestWatts: dearest };
    const [policy] = kind.aboutLicences ? this.of.policiesOf(machine) : NO_POLICIES;
    if (policy) seek.licences = { policy, kind };
    if (hostKind === undefined) return seek;
    const like =
      this.likeOf(kind, at, h, dearest) + kind.room * shelves.roomWith(want, h) + this.licensedBonus(seek, h);
    const stays =
      (kind.judgement.mayStay[hostKind] as number) === 1 &&
      shelves.fits(want, h) &&
      state.counts.breaks(at, h) < 0;
    seek.now = { host: h, like, stays };
    return seek;
  }

  /** Whether nothing of what kinds, room and groups say stands against one of the estate's machines where it is, on host h of the estate; in doubt not. As `seekAt` has it, in a hundredth of the time. */
  staysAt(at: number, h: number): boolean {
    const { state, machineKinds, machines, kinds } = this.of;
    const { judgement } = machineKinds.of(at, machines[at] as MachineView);
    if ((judgement.mayStay[kinds.of[h] as number] as number) === 0) return false;
    // What policies of machines there limit is all that the host has.
    for (let r = 0, i = h * state.model.resources; r < DECLARED; r++, i++)
      if ((state.free[i] as number) < 0) return false;
    return state.counts.breaks(at, h) < 0;
  }

  /** How much better than host h of the estate, on which it is, one of the estate's machines likes any other at most: without looking at them. */
  mostGain(at: number, h: number): number {
    const { state, shelves, machineKinds, machines, kinds } = this.of;
    const machine = machines[at] as MachineView;
    const kind = machineKinds.of(at, machine);
    const alone = (state.itemsOn[h] as number) === 1 ? (kinds.of[h] as number) : undefined;
    const dearest = kind.dearestWatts(shelves, alone);
    const { likes, order } = kind.likesAt(dearest);
    const bend = kind.bendAt(dearest);
    const most = shelves.mostOf({ likes, order, room: kind.room, ...(bend ? { bend } : {}) });
    const now = this.likeOf(kind, at, h, dearest) + kind.room * shelves.roomOf(h);
    if (!kind.aboutLicences) return most - now;
    const [policy] = this.of.policiesOf(machine);
    const licences = policy && { policy, kind };
    const bonus = licences ? this.licensedBonus({ machine, licences }, h) : 0;
    return most + (licences ? kind.judgement.mostLicensed : 0) - now - bonus;
  }

  /** How well one of the estate's machines likes a host of the estate by what others do there, apart from room and licences; also where it may not come. */
  likeOf(kind: MachineKind, at: number, h: number, dearest: number): number {
    const { state, draws } = this.of;
    const others = (state.itemsOn[h] as number) - (state.at[at] === h ? 1 : 0);
    return kind.likeOf(
      this.of.kindOfHost(h),
      others > 0 ? draws.shareOf(h, state.at[at] === h ? at : -1) : undefined,
      dearest,
    );
  }

  /** The same as if the host were in use also without it: what it is worth that one is empty is told for all its machines together. */
  usedLikeOf(at: number, h: number): number {
    const { kind, dearest } = this.tasteOf(at);
    return kind.likeOf(this.of.kindOfHost(h), this.of.draws.shareOf(h, at), dearest);
  }

  /** How well the machine would like to be on the host; -Infinity: it may not come there. */
  liking(seek: Seek, h: number): number {
    return this.of.shelves.liking(seek.want, h) + this.licensedBonus(seek, h);
  }

  private licensedBonus({ machine, licences }: Pick<Seek, "machine" | "licences">, h: number): number {
    if (!licences || this.of.carriers.others(licences.policy, machine, h) <= 0) return 0;
    return licences.kind.judgement.licensed[this.of.kindOfHost(h)] ?? 0;
  }

  /** As Shelves.best. Of hosts that others of a policy about licences are on, those with the most are looked at. */
  best(seek: Seek, floor: number, accept: ((h: number) => boolean) | undefined): number {
    const { want, licences } = seek;
    let best = this.of.shelves.best(want, floor, accept);
    if (!licences) return best;
    let liked = best < 0 ? floor : this.liking(seek, best);
    const carriers = [...this.of.carriers.of(licences.policy)].sort(([a, n], [b, m]) => m - n || a - b);
    for (const [h] of carriers.slice(0, CARRIERS)) {
      if (h === this.of.state.at[want.item] || !this.of.shelves.admits(want, h)) continue;
      const value = this.liking(seek, h);
      if (!isBetter(value, h, { best, liked, floor }) || (accept && !accept(h))) continue;
      best = h;
      liked = value;
    }
    return best;
  }
}
