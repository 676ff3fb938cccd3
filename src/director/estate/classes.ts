/**
 * Hosts that no rule and no goal can tell apart but by what runs on them, and machines that look for the same, each judged once for all. An estate of ten thousand
 * hosts has a few dozen kinds of them. Pure.
 */

import { allows, fixedBy, lack, moveObstacle } from "../rules/suits.ts";
import type { Bend, Shelves } from "../solver/shelves.ts";
import type { AddedWatts } from "./added-watts.ts";
import type { HostView, MachineView } from "./estate.ts";
import {
  type Aim,
  type Clocks,
  powerWeight,
  preferencesOf,
  preferred,
  speedValue,
  unlicensedValue,
  type Weights,
  wattsValue,
} from "./goals.ts";
import type { Sight } from "./sight.ts";
import type { Tariffs } from "./tariffs.ts";
import { NOTHING, Tuples } from "./tuples.ts";
import { LEVELS, levelOf } from "./watts.ts";

/** Memory of hosts of one kind differs by less than a twentieth. */
const MEMORY_STEPS = 16;

export interface HostKinds {
  /** The kind of each host. */
  of: Int32Array;
  /** One host of each kind. */
  examples: HostView[];
}

/** @param sight what the rules see of them */
export function hostKinds(hosts: readonly HostView[], sight: Sight, sites: Tariffs): HostKinds {
  const tuples = new Tuples();
  const known = new Map<number, number>();
  const examples: HostView[] = [];
  const of = Int32Array.from(hosts, (host, h) => {
    const {
      mhz,
      cpus,
      processors,
      memoryBytes,
      idleWatts,
      maxWatts,
      wattsCurve,
      accelerator,
      cpuModel,
      has,
    } = host;
    const memory = Math.round(Math.log2(memoryBytes + 1) * MEMORY_STEPS);
    const traits = [
      sight.ofHosts[h],
      mhz,
      cpus,
      processors,
      memory,
      idleWatts,
      maxWatts,
      wattsCurve?.join(),
      accelerator,
      cpuModel,
      has && JSON.stringify(has),
      host.sockets,
      host.dedicatedTo,
      // What power costs there.
      sites.has(host.site) ? host.site : "",
    ];
    const key = traits.reduce<number>((number, trait) => tuples.with(number, trait), NOTHING);
    const kind = known.get(key);
    if (kind !== undefined) return kind;
    known.set(key, examples.length);
    return examples.push(host) - 1;
  });
  return { of, examples };
}

/** Likings of all shelves at one price of watts. */
export interface Likes {
  /** By shelf (2 * kind of host, and 1 more for hosts in use), where what others do there is best for it; -Infinity: may not be there. */
  likes: Float64Array;
  /** The others, those liked most first. */
  order: Int32Array;
}

/** What is measured by. */
export interface Yardsticks {
  aim: Aim;
  sites: Tariffs;
  clocks: Clocks;
  mostSockets: number;
}

/** What machines of a kind make of each kind of host, apart from what runs there and from watts. */
export class Judgement {
  readonly weights: Weights;
  /** Whether one that is there may stay, and whether others may come. */
  readonly mayStay: Uint8Array;
  readonly mayCome: Uint8Array;
  /** What does not depend on what runs there. */
  readonly fixed: Float64Array;
  /** How much better one is that another machine of the policy is on. */
  readonly licensed: Float64Array;

  /** At most. */
  readonly mostLicensed: number;

  /** @param asked policies and rules of theirs that it is judged by (sight.ts) @param from the host that the example is on */
  constructor(
    example: MachineView,
    { policies, closed }: ReturnType<Sight["asked"]>,
    hosts: readonly HostView[],
    { aim: { weights }, clocks, mostSockets }: Yardsticks,
    from: HostView | undefined,
  ) {
    const preferences = preferencesOf(policies);
    const fixed = closed || (example.host !== undefined && fixedBy(policies) !== undefined);
    this.weights = weights;
    this.licensed = new Float64Array(hosts.length);
    this.mayStay = new Uint8Array(hosts.length);
    this.mayCome = new Uint8Array(hosts.length);
    this.fixed = new Float64Array(hosts.length);
    for (const [kind, host] of hosts.entries()) {
      const stays = !lack(example, host) && allows(policies, host, example);
      this.mayStay[kind] = stays ? 1 : 0;
      this.mayCome[kind] = stays && !fixed && !moveObstacle(example, from, host) ? 1 : 0;
      this.fixed[kind] = preferred(preferences, host, example).reduce(
        (sum, { kept, weight }) => sum + (kept ? weight : 0),
        speedValue(host.mhz, clocks) * weights.speed +
          weights.packed +
          weights.licences * unlicensedValue(host.sockets, mostSockets),
      );
      this.licensed[kind] = weights.licences * (1 - unlicensedValue(host.sockets, mostSockets));
    }
    this.mostLicensed = this.licensed.reduce((most, each) => Math.max(most, each), 0);
  }
}

/** Machines that look for the same, but for their memory and whom they go with. */
export class MachineKind {
  readonly judgement: Judgement;
  readonly room: number;
  private readonly wattsWeight: number;
  private readonly watts: AddedWatts;
  private dearest = { version: -1, watts: 1 };
  /** The newest two: as it is, and if any host might be empty. */
  private known: { watts: number; likes: Likes }[] = [];
  private knownEven: { watts: number; likes: Likes } | undefined;

  constructor(judgement: Judgement, watts: AddedWatts) {
    const { weights } = judgement;
    this.judgement = judgement;
    this.room = weights.room - weights.packed;
    this.wattsWeight = powerWeight(weights);
    this.watts = watts;
  }

  get aboutLicences(): boolean {
    return this.judgement.weights.licences > 0;
  }

  /** Watts that it would add where it adds most; `alone`: the kind of a host on which there is only this one. */
  dearestWatts(shelves: Shelves, alone: number | undefined): number {
    const { most } = this.watts;
    if (this.dearest.version !== shelves.version) {
      let watts = 1;
      for (let shelf = 0; shelf < most.length; shelf++)
        if ((shelves.count[shelf] as number) > 0 && (most[shelf] as number) > watts)
          watts = most[shelf] as number;
      this.dearest = { version: shelves.version, watts };
    }
    const own = alone === undefined ? 0 : (most[2 * alone] as number);
    return own > this.dearest.watts ? own : this.dearest.watts;
  }

  /** The same, if hosts that are in use were not, too. */
  dearestWattsOfAny(shelves: Shelves): number {
    const { most } = this.watts;
    let watts = 1;
    for (let shelf = 0; shelf < most.length; shelf++)
      if (
        (shelves.count[shelf] as number) + (shelves.count[shelf ^ 1] as number) > 0 &&
        (most[shelf] as number) > watts
      )
        watts = most[shelf] as number;
    return watts;
  }

  likesAt(dearestWatts: number): Likes {
    for (const { watts, likes } of this.known) if (watts === dearestWatts) return likes;
    const made = this.likesBy(this.watts.least, dearestWatts);
    const [newest] = this.known;
    this.known = [{ watts: dearestWatts, likes: made }, ...(newest ? [newest] : [])];
    return made;
  }

  /** The same where hosts in use add watts as evenly as from idle to full load: what they will do is not known yet. */
  evenLikesAt(dearestWatts: number): Likes {
    if (!this.bends) return this.likesAt(dearestWatts);
    if (this.knownEven?.watts !== dearestWatts)
      this.knownEven = { watts: dearestWatts, likes: this.likesBy(this.watts.even, dearestWatts) };
    return this.knownEven.likes;
  }

  private likesBy(added: Float64Array, dearestWatts: number): Likes {
    const { mayCome } = this.judgement;
    const likes = added.map((watts, shelf) =>
      (mayCome[shelf >> 1] as number) === 1
        ? this.likeBy(watts, shelf >> 1, shelf % 2 === 1, dearestWatts)
        : Number.NEGATIVE_INFINITY,
    );
    const order = Int32Array.from(likes.keys())
      .filter((shelf) => (likes[shelf] as number) > Number.NEGATIVE_INFINITY)
      .sort((a, b) => (likes[b] as number) - (likes[a] as number) || a - b);
    return { likes, order };
  }

  /** How it likes a host of that kind where it is, apart from room; also where it may not come. @param others share of its processors' time that others use; undefined: there are none */
  likeOf(kind: number, others: number | undefined, dearestWatts: number): number {
    const { least, beyond } = this.watts;
    const shelf = 2 * kind + (others === undefined ? 0 : 1);
    const more = others === undefined ? 0 : (beyond?.[LEVELS * kind + levelOf(others)] ?? 0);
    return this.likeBy((least[shelf] as number) + more, kind, others !== undefined, dearestWatts);
  }

  /** The same of a host in use, by an even curve. */
  evenLikeOf(kind: number, dearestWatts: number): number {
    return this.likeBy(this.watts.even[2 * kind + 1] as number, kind, true, dearestWatts);
  }

  /** How much better it likes it that a host of that kind is in use already. */
  openingOf(kind: number, dearestWatts: number): number {
    const idle = this.watts.idle[kind] as number;
    return (
      this.judgement.weights.used +
      this.wattsWeight * (Number.isNaN(idle) ? wattsValue(undefined, true, 1) : idle / dearestWatts)
    );
  }

  private likeBy(watts: number, kind: number, inUse: boolean, dearestWatts: number): number {
    const { fixed, weights } = this.judgement;
    return (
      (fixed[kind] as number) +
      (inUse ? weights.used : 0) +
      wattsValue(Number.isNaN(watts) ? undefined : watts, inUse, dearestWatts) * this.wattsWeight
    );
  }

  private get bends(): boolean {
    return this.wattsWeight > 0 && this.watts.beyond !== undefined;
  }

  /** How much less than `likes` says it likes hosts in use; undefined: it likes them all so much. */
  bendAt(dearestWatts: number): Bend | undefined {
    const { beyond } = this.watts;
    return this.bends && beyond ? { less: beyond, weight: this.wattsWeight / dearestWatts } : undefined;
  }
}
