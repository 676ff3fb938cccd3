/**
 * The estate as it is stored, with what is known of losses, kept from one look to the next: a look costs what has changed since. Made anew when hosts, pools or policies are
 * others, when more machines came than there are places for, and when what is known of losses is worn: some were given up, or many are looked at one by one that need not be. Pure.
 */
import type { Host } from "../../compute/hosts/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { invalidity } from "../../resource/invalid.ts";
import type { Resource } from "../../resource/object.ts";
import { type Estate, type MachineView, makeEstate, viewHost } from "../estate/estate.ts";
import { EstateIndex, useIndex } from "../estate/estate-index.ts";
import { standIn } from "../estate/growth.ts";
import type { KeptMachines } from "../estate/kept-machines.ts";
import { localPoolsIn, viewOne } from "../estate/machine-views.ts";
import type { Policy } from "../kinds.ts";
import { standing } from "../rules/standing.ts";
import { wearOf } from "./failover.ts";

/** Sound objects, and machines as they are kept. */
export interface Stored {
  hosts: readonly Host[];
  pools: readonly StoragePool[];
  policies: readonly Policy[];
  machines: KeptMachines;
}

/** Places for machines that come; a share of those that are there, and so many more. */
const PLACES = { share: 0.25, more: 256 };
const MOVING = 128;
/** What is worn is made anew after so many changes, or as many as there are machines: it takes long, and soon after it would be the same. */
const CHANGES = { much: 100, some: 1000 };

export class KeptEstate {
  estate: Estate;
  private stored: Stored;
  private localPools: ReadonlySet<string> = new Set();
  private index: EstateIndex;
  /** By uid of the VirtualMachine. */
  private readonly places = new Map<string, number>();
  private free: number[] = [];
  /** Since it was made. */
  private changes = 0;

  constructor(stored: Stored) {
    this.stored = stored;
    [this.estate, this.index] = this.make();
  }

  /** As it is now. */
  update(now: Stored): Estate {
    const { hosts, pools, policies } = this.stored;
    const same =
      isSame(hosts, now.hosts, tellOf) &&
      isSame(pools, now.pools, ({ spec }) => spec) &&
      isSame(policies, now.policies, generationOf);
    this.stored = now;
    if (!same || this.isWorn() || !this.carryOn()) [this.estate, this.index] = this.make();
    return this.estate;
  }

  private isWorn(): boolean {
    const wear = wearOf(this.estate);
    return wear !== undefined && this.changes >= Math.min(CHANGES[wear], this.places.size);
  }

  private make(): [Estate, EstateIndex] {
    const { hosts, pools, policies, machines } = this.stored;
    this.localPools = localPoolsIn(pools);
    this.places.clear();
    this.changes = 0;
    // All are looked at below.
    machines.takeChanged();
    const estate = makeEstate({ hosts, policies: policies.map(standing), machines: [], instances: [] });
    for (const uid of new Set([...machines.vms.keys(), ...machines.runs.keys()])) {
      const view = this.view(uid);
      if (view) this.places.set(uid, estate.machines.push(view) - 1);
    }
    const more = Math.ceil(estate.machines.length * PLACES.share) + PLACES.more;
    const first = estate.machines.length;
    for (let i = 0; i < more; i++) estate.machines.push(standIn(first + i));
    this.free = Array.from({ length: more }, (_, i) => first + more - 1 - i);
    const index = new EstateIndex(estate, MOVING);
    useIndex(estate, index);
    return [estate, index];
  }

  private view(uid: string): MachineView | undefined {
    const { vms, runs } = this.stored.machines;
    const vm = vms.get(uid);
    const sound = (runs.get(uid) ?? []).filter((run) => !invalidity(run));
    try {
      return viewOne(vm && !invalidity(vm) ? vm : undefined, sound, this.localPools);
    } catch {
      // One odd object never stops the work for the others.
      return undefined;
    }
  }

  /** @returns false: it has to be made anew */
  private carryOn(): boolean {
    const views = [...this.stored.machines.takeChanged()].map((uid) => [uid, this.view(uid)] as const);
    // First those that leave: one that comes may have the name of one that left.
    for (const [uid, view] of views) {
      const at = this.places.get(uid);
      if (at === undefined || view) continue;
      if (!this.become(at, standIn(at))) return false;
      this.places.delete(uid);
      this.free.push(at);
    }
    for (const [uid, view] of views) {
      if (!view) continue;
      const at = this.places.get(uid) ?? this.free.pop();
      if (at === undefined) return false;
      this.places.set(uid, at);
      if (!isAlike(this.estate.machines[at] as MachineView, view) && !this.become(at, view)) return false;
    }
    return true;
  }

  private become(at: number, view: MachineView): boolean {
    if (!this.index.become(at, view)) return false;
    this.estate.machines[at] = view;
    this.changes++;
    return true;
  }
}

/** What is asked here: where it runs, what it needs where it starts anew, and which policies choose it. */
const ASKED = [
  "key",
  "labels",
  "latencySensitivity",
  "cpus",
  "memoryBytes",
  "io",
  "host",
  "off",
  "movingTo",
  "resumes",
  "needs",
  "reserved",
  "disksOn",
  "localDisks",
] as const satisfies readonly (keyof MachineView)[];

function isAlike(before: MachineView, now: MachineView): boolean {
  const told = (view: MachineView) => JSON.stringify(ASKED.map((field) => view[field]));
  return told(before) === told(now);
}

function tellOf(host: Host): unknown {
  try {
    return viewHost(host);
  } catch {
    return undefined;
  }
}

const generationOf = ({ metadata: { namespace, name, uid, generation } }: Policy) => [
  namespace,
  name,
  uid,
  generation,
];

const isSame = <T extends Resource>(
  before: readonly T[],
  now: readonly T[],
  told: (object: T) => unknown,
): boolean =>
  before.length === now.length &&
  before.every((object, i) => {
    const other = now[i] as T;
    return object === other || JSON.stringify(told(object)) === JSON.stringify(told(other));
  });
