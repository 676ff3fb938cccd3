/**
 * One look at all hosts that PowerPolicies have the say over: which of those that are off are needed, and which of those that are on are not (power.ts). It keeps
 * count of what its own wishes change, so that one is made on top of the others. Pure.
 */
import type { Automatic } from "../../power/kinds.ts";
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { MachineView } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { applyTo } from "../estate/moved.ts";
import { cannotLook, demandsOf, inWords, unguarded } from "../failover/failover.ts";
import type { Demand } from "../failover/losses.ts";
import { Survival } from "../failover/survival.ts";
import { obstacle } from "../rules/rules.ts";
import { awayMs, wakeMs } from "./demand.ts";
import { type PowerInput, unsureOf } from "./input.ts";
import { unrelieved } from "./relief.ts";
import { Room } from "./room.ts";
import {
  CONTROL_PLANE,
  failedLately,
  hasControlPlane,
  isStuck,
  neverOff,
  type Powered,
  spareDemand,
} from "./standing.ts";

const MINUTE_MS = 60_000;
/** Of the hosts that are on, so many may be on their way off at once. */
const SHARE_AT_ONCE = 0.1;
/** So many at most of a policy are on their way off at once, and so many proofs that a host is needed are made at a time: the leader has more to do. */
const MOST_AT_ONCE = 50;
const ROUND_FAULTS = 50;
/** Of so many hosts it is looked at whether a machine that comes there takes what a loss needs. */
const LOOKS = 50;
/** So many hosts are tried for one need; others of the same kind would not help either. */
const TRIES = 16;

export interface Wish {
  host: string;
  power: "On" | "Off";
  policy: string;
  reason: string;
  predicted: NonNullable<Automatic["predicted"]>;
}

export interface Spare {
  kept: boolean;
  message: string;
}

const findRoom = (lost: number): string =>
  `all machines find room also when any ${lost === 1 ? "host that is on is" : `${lost} hosts that are on are`} lost`;

export class Round {
  readonly wishes: Wish[] = [];
  private readonly input: PowerInput;
  private readonly powered: readonly Powered[];
  private readonly why: Map<string, string>;
  private readonly index: EstateIndex;
  private readonly survival: Survival;
  private readonly demands = new Map<PowerPolicy, Demand>();
  /** Hosts that are off and not called, by their number. */
  private readonly asleep = new Map<number, Powered>();
  /** Policies something of which is needed: none of their hosts goes off. */
  private readonly inNeed = new Set<PowerPolicy>();
  private readonly unmet = new Map<PowerPolicy, string>();
  private readonly room: Room;
  /** By kind of host and where it stands: what is not survived without one of them. */
  private readonly kept = new Map<string, string>();
  /** So many hosts were found to be needed. */
  private looks = 0;

  constructor(input: PowerInput, powered: readonly Powered[], why: Map<string, string>) {
    this.input = input;
    this.powered = powered;
    this.why = why;
    this.index = indexOf(input.estate);
    this.room = new Room(input.ahead);
    for (const each of powered) {
      each.h = this.index.hostNumber(each.view.name);
      if (each.state === "off" || each.state === "going") this.asleep.set(each.h, each);
      if (each.state === "coming") this.inNeed.add(each.policy);
      if (!this.asleep.has(each.h)) this.room.count(each, 1);
    }
    this.survival = new Survival(
      input.estate,
      [...demandsOf(input.estate), ...this.spareDemands()],
      [...this.asleep.keys()],
    );
  }

  private spareDemands(): Demand[] {
    const byPolicy = Map.groupBy(this.powered, ({ policy }) => policy);
    return [...byPolicy].flatMap(([policy, own]) => {
      const demand = spareDemand(
        this.index,
        policy,
        own.map(({ view }) => view),
      );
      if (!demand) return [];
      this.demands.set(policy, demand);
      return [demand];
    });
  }

  /** Between two pieces of it others may have their turn. */
  *meetNeeds(): Generator<void> {
    yield* this.survival.catchUp();
    const { estate, waiting } = this.input;
    for (const each of [...this.asleep.values()]) {
      if (hasControlPlane(each.host, this.input.controlPlanes)) this.call(each, CONTROL_PLANE);
      else if (each.state === "going" && this.index.use(each.view.name).machines > 0)
        this.call(each, "a machine is on it");
    }
    for (const key of waiting) {
      const machine = this.index.get(key);
      if (machine && machine.host === undefined)
        this.findPlace(machine, `${key} finds no place on the hosts that are on`);
    }
    for (const { name, maintenance } of estate.hosts) {
      if (!maintenance) continue;
      for (const at of this.index.machinesOn(name)) {
        const machine = this.index.machines[at];
        if (machine?.movable)
          this.findPlace(
            machine,
            `${machine.key} has to leave ${name}, and finds no place on the hosts that are on`,
          );
      }
    }
    yield* this.keepSurvival();
    this.relieve();
    for (const [policy, own] of Map.groupBy(this.powered, (each) => each.policy)) this.prepare(policy, own);
  }

  /** Of a machine that has to come somewhere: where that is not on what is on, a host that is off is called. */
  private findPlace(machine: MachineView, need: string): void {
    const { estate } = this.input;
    const to = this.bestAwake(machine);
    if (to !== undefined) {
      applyTo(estate, machine.key, to);
      return;
    }
    const found = this.candidates().find(({ h }) => {
      const host = this.index.hostOf(h);
      return host && obstacle(estate, machine, host) === undefined;
    });
    if (!found) return;
    this.call(found, need);
    applyTo(estate, machine.key, found.view.name);
  }

  private bestAwake(machine: MachineView): string | undefined {
    const { estate } = this.input;
    const seek = this.index.likings.seek(machine);
    if (!seek) return undefined;
    const special = machine.reserved !== undefined || machine.disksOn !== undefined;
    const at = this.index.position.get(machine.key) ?? -1;
    let looks = LOOKS;
    const accept = (h: number) => {
      const host = this.index.hostOf(h);
      if (this.asleep.has(h) || !host || (special && obstacle(estate, machine, host))) return false;
      return looks-- > 0 && !this.survival.ifMoved(at, host.name);
    };
    return this.index.hostOf(this.index.shelves.best(seek.want, Number.NEGATIVE_INFINITY, accept))?.name;
  }

  /** Hosts that are off, those first that are to be called first: long enough off, soon there, frugal. */
  private candidates(): Powered[] {
    const { now } = this.input;
    const rested = ({ since, policy }: Powered) =>
      now - since >= policy.spec.minOffMinutes * MINUTE_MS ? 0 : 1;
    return [...this.asleep.values()].sort(
      (a, b) =>
        // One that is only to go off is there at once.
        (a.state === "going" ? 0 : 1) - (b.state === "going" ? 0 : 1) ||
        rested(a) - rested(b) ||
        a.bootSeconds - b.bootSeconds ||
        (a.view.idleWatts ?? Number.POSITIVE_INFINITY) - (b.view.idleWatts ?? Number.POSITIVE_INFINITY) ||
        (a.view.name < b.view.name ? -1 : 1),
    );
  }

  private call(each: Powered, reason: string): void {
    const { view, policy, h, bootSeconds } = each;
    this.asleep.delete(h);
    this.room.count(each, 1);
    this.inNeed.add(policy);
    this.survival.open(h);
    const predicted = {
      seconds: bootSeconds,
      ...(view.idleWatts === undefined ? {} : { watts: view.idleWatts }),
    };
    this.wishes.push({ host: view.name, power: "On", policy: policy.metadata.name, reason, predicted });
    this.why.set(view.name, `to be switched on: ${reason}`);
  }

  /** Calls hosts until all is survived that is to be; those that would not help are left. */
  private *keepSurvival(): Generator<void> {
    const { estate } = this.input;
    yield* this.survival.catchUp();
    let faults = this.survival.faults();
    const tried = new Set<number>();
    for (const each of this.candidates()) {
      if (faults.length === 0 || tried.size >= TRIES) break;
      const kind = this.index.kindOfHost(each.h);
      if (tried.has(kind)) continue;
      const [fault] = faults;
      this.survival.open(each.h);
      yield* this.survival.catchUp();
      const left = this.survival.faults();
      if (left.length < faults.length || this.helps(faults, left)) {
        this.call(each, fault ? inWords(estate, fault, "is") : "?");
        faults = left;
        continue;
      }
      tried.add(kind);
      this.survival.close(each.h);
    }
    for (const [policy, demand] of this.demands) {
      const own = faults.find(({ demands }) => demands.includes(demand));
      if (own) this.unmet.set(policy, inWords(estate, own, "is"));
      const tooMany = this.survival.losses.tooMany.get(demand);
      if (!own && tooMany !== undefined) this.unmet.set(policy, cannotLook(demand, tooMany));
    }
  }

  /** More of a loss finds room than before, if not all: with one more host perhaps all. */
  private helps(
    before: readonly { loss: string; machine: number }[],
    after: readonly { loss: string; machine: number }[],
  ) {
    const places = this.index.state.model.demand;
    const size = (at: number) => places[at * this.index.state.model.resources + 1] ?? 0;
    return before.some((fault, i) => {
      const now = after[i];
      return (
        now !== undefined &&
        now.loss === fault.loss &&
        now.machine !== fault.machine &&
        size(now.machine) <= size(fault.machine)
      );
    });
  }

  /** Of hosts of which more is expected than they can do, and which nobody can relieve. */
  private relieve(): void {
    const isAsleep = (h: number) => this.asleep.has(h);
    for (const { name, helps } of unrelieved(this.input.estate, this.index, isAsleep)) {
      const found = this.candidates().find(({ h }) => helps(h));
      if (found)
        this.call(
          found,
          `of ${name} more is expected than it can do, and no host that is on can take a machine of it`,
        );
    }
  }

  /** Hosts for what is forecast: called until there is room, as long before as they take to boot. */
  private prepare(policy: PowerPolicy, own: readonly Powered[]): void {
    const boot = Math.max(...own.map(({ bootSeconds }) => bootSeconds));
    for (const each of this.candidates()) {
      if (each.policy !== policy) continue;
      const lack = this.room.lackOf(policy, wakeMs(boot));
      if (!lack) return;
      this.call(each, lack);
    }
  }

  *letGo(): Generator<void> {
    // What is to go off and has been called again meanwhile, was called above. What else stays on tells why.
    const left = new Map<PowerPolicy, number>();
    for (const [policy, own] of Map.groupBy(this.powered, (each) => each.policy)) {
      const on = own.filter(({ state }) => state === "on").length;
      const going = own.filter(({ state }) => state === "going");
      const most = Math.min(MOST_AT_ONCE, Math.max(1, Math.ceil((on + going.length) * SHARE_AT_ONCE)));
      left.set(policy, most - going.filter(({ host }) => !isStuck(host, this.input.now)).length);
    }
    const watts = ({ view }: Powered) => view.idleWatts ?? -1;
    const on = this.powered.filter(({ state }) => state === "on");
    on.sort((a, b) => watts(b) - watts(a) || (a.view.name < b.view.name ? -1 : 1));
    // What is only advised stays on: no other does for it.
    const ofActing = ({ policy }: Powered) => policy.spec.automation === "act";
    yield* this.letGoInTurn(on.filter(ofActing), left);
    yield* this.letGoInTurn(
      on.filter((each) => !ofActing(each)),
      left,
    );
  }

  private *letGoInTurn(on: readonly Powered[], left: Map<PowerPolicy, number>): Generator<void> {
    const before = this.wishes.length;
    this.looks = 0;
    yield* this.letGoOf(on, left);
    if (this.looks < ROUND_FAULTS || this.wishes.length > before) return;
    // Those that were not reached have their turn one round after the other.
    this.looks = 0;
    const from = (Math.floor(this.input.now / MINUTE_MS) * ROUND_FAULTS) % on.length;
    yield* this.letGoOf([...on.slice(from), ...on.slice(0, from)], left);
  }

  private *letGoOf(on: readonly Powered[], left: Map<PowerPolicy, number>): Generator<void> {
    for (const each of on) {
      yield;
      const { view, policy } = each;
      const why = this.whyOn(each, left.get(policy) ?? 0);
      if (why) {
        this.why.set(view.name, `on: ${why}`);
        continue;
      }
      left.set(policy, (left.get(policy) ?? 0) - 1);
      this.asleep.set(each.h, each);
      this.room.count(each, -1);
      const reason = `it is empty and not needed: ${this.withoutIt(policy)}`;
      const seconds = policy.spec.minOffMinutes * 60;
      const predicted = { seconds, ...(view.idleWatts === undefined ? {} : { watts: -view.idleWatts }) };
      this.wishes.push({ host: view.name, power: "Off", policy: policy.metadata.name, reason, predicted });
      this.why.set(view.name, `to be switched off: ${reason}`);
    }
  }

  private withoutIt(policy: PowerPolicy): string {
    const { spareHosts } = policy.spec;
    if (spareHosts === 0)
      return this.input.waiting.length === 0
        ? "no machine waits for a place"
        : "no machine that waits for a place needs it";
    return `without it ${findRoom(spareHosts)}`;
  }

  /** Why it does not go off; undefined: it may, and takes no machines from here on. */
  private whyOn(each: Powered, left: number): string | undefined {
    const { host, view, policy, h, since } = each;
    const { estate, expected, now, controlPlanes } = this.input;
    const { machines } = this.index.use(view.name);
    if (machines > 0) return `${machines} ${machines === 1 ? "machine is" : "machines are"} on it`;
    const never = neverOff(host, controlPlanes);
    if (never) return never;
    const unsure = unsureOf(this.input, policy);
    if (unsure) return unsure;
    if (expected.has(view.name)) return "a plan moves machines there";
    if (estate.odd.some(({ object }) => object.startsWith("Instance/")))
      return "an Instance cannot be read, which may be there";
    const lately = failedLately(host, now);
    if (lately) return lately;
    const until = since + policy.spec.minOnMinutes * MINUTE_MS;
    if (now < until)
      return `it came on lately, and stays until ${new Date(until).toISOString()} (minOnMinutes)`;
    if (this.inNeed.has(policy)) return "others are being switched on because they are needed";
    const others = this.room.onOf(policy);
    const most = Math.max(1, policy.spec.spareHosts);
    if (others <= most)
      return `${most} ${most === 1 ? "host stays" : "hosts stay"} on in any case (spareHosts)`;
    if (left <= 0)
      return `others are switched off first, a tenth of them and ${MOST_AT_ONCE} at most at a time`;
    const unmet = this.unmet.get(policy) ?? unguarded(this.survival);
    if (unmet) return unmet;
    const lack = this.room.lackOf(policy, awayMs(each.bootSeconds, policy.spec), view);
    if (lack) return `without it ${lack}`;
    const kind = `${this.index.kindOfHost(h)} ${view.site}/${view.rack}`;
    // Without another one of the same kind it would be the same.
    const known = this.kept.get(kind);
    if (known) return known;
    if (this.looks >= ROUND_FAULTS) return "others are looked at first, without which not all is survived";
    const fault = this.survival.close(h);
    if (!fault) return undefined;
    this.looks++;
    const kept = `without it ${inWords(estate, fault)}`;
    this.kept.set(kind, kept);
    return kept;
  }

  spareOf(policy: PowerPolicy): Spare {
    const { spareHosts, automation } = policy.spec;
    if (automation === "off") return { kept: true, message: "nothing is looked at (automation: off)" };
    const unmet = this.unmet.get(policy);
    if (unmet) return { kept: false, message: unmet };
    if (spareHosts === 0) return { kept: true, message: "no host is to be spare" };
    return { kept: true, message: findRoom(spareHosts) };
  }
}
