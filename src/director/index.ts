/**
 * What is asked of an estate again and again, found once: what is on each host, which policies choose a machine and which machines a policy, and how
 * many of them each host and rack has. Kept with the estate; a move carries it on to the estate after the move instead of counting anew.
 */
import { selects } from "../resource/selector.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import type { Policy } from "./kinds.ts";

export interface Use {
  cpus: number;
  memoryBytes: number;
  machines: number;
}

type Level = "host" | "rack";

/** Where the machines of one policy are: by host or rack. */
export interface Group {
  /** Where its machines are in the estate's list. */
  members: number[];
  /** How many of them are anywhere. */
  placed: number;
  counts: Record<Level, Map<string, number>>;
}

export const domainOf = (host: HostView, level: Level): string => (level === "host" ? host.name : host.rack);

/** Whether the policy chooses the machine: same namespace, labels match. */
export function chooses(policy: Policy, machine: MachineView): boolean {
  if ((policy.metadata.namespace ?? "default") !== machine.namespace) return false;
  return selects(policy.spec.selector, machine.labels);
}

export class EstateIndex {
  readonly hosts: ReadonlyMap<string, HostView>;
  /** Where each machine is in the estate's list. */
  readonly position: ReadonlyMap<string, number>;
  readonly fastestMhz: number;
  private readonly used = new Map<string, Use>();
  /** By one label that a machine must have to be chosen, or by namespace alone. */
  private readonly policies = new Map<string, { rank: number; policy: Policy }[]>();
  private grouped = false;
  private readonly chosenBy = new Map<string, Policy[]>();
  private readonly groups = new Map<Policy, Group>();
  readonly machines: MachineView[];

  constructor(estate: Estate) {
    this.hosts = new Map(estate.hosts.map((host) => [host.name, host]));
    this.position = new Map(estate.machines.map((machine, i) => [machine.key, i]));
    this.fastestMhz = estate.hosts.reduce((most, { mhz }) => Math.max(most, mhz), 1);
    this.machines = [...estate.machines];
    // Highest priority first; ties by name.
    const sorted = [...estate.policies].sort(
      (a, b) => b.spec.priority - a.spec.priority || (a.metadata.name < b.metadata.name ? -1 : 1),
    );
    for (const [rank, policy] of sorted.entries()) {
      const bucket = bucketOf(policy);
      this.policies.set(bucket, [...(this.policies.get(bucket) ?? []), { rank, policy }]);
    }
    for (const machine of estate.machines) this.count(machine, 1);
  }

  /** Of a host, with all that is or will be there. */
  use(host: string): Readonly<Use> {
    return this.used.get(host) ?? NONE;
  }

  get(key: string): MachineView | undefined {
    const at = this.position.get(key);
    return at === undefined ? undefined : this.machines[at];
  }

  policiesOf(machine: MachineView): readonly Policy[] {
    // A view of it that is not the estate's may have other labels.
    if (this.get(machine.key)?.labels !== machine.labels) return this.find(machine);
    const known = this.chosenBy.get(machine.key);
    if (known) return known;
    const found = this.find(machine);
    this.chosenBy.set(machine.key, found);
    return found;
  }

  private find(machine: MachineView): Policy[] {
    const buckets = [
      machine.namespace,
      ...Object.entries(machine.labels).map((label) => bucket(machine.namespace, label)),
    ];
    return buckets
      .flatMap((of) => this.policies.get(of) ?? [])
      .filter(({ policy }) => chooses(policy, machine))
      .sort((a, b) => a.rank - b.rank)
      .map(({ policy }) => policy);
  }

  /** Of one of the estate's policies. */
  group(policy: Policy): Group {
    if (!this.grouped) {
      this.grouped = true;
      for (const [i, machine] of this.machines.entries())
        for (const chosen of this.policiesOf(machine)) {
          const group = this.groups.get(chosen) ?? newGroup();
          this.groups.set(chosen, group);
          group.members.push(i);
          this.countInGroup(group, machine, 1);
        }
    }
    return this.groups.get(policy) ?? newGroup();
  }

  /** The domains a machine is in: one, or two while it moves. */
  placesOf(machine: MachineView, level: Level): string[] {
    return [machine.host, machine.movingTo].flatMap((name) => {
      const host = name === undefined ? undefined : this.hosts.get(name);
      return host ? [domainOf(host, level)] : [];
    });
  }

  move(key: string, to: string): MachineView | undefined {
    const at = this.position.get(key);
    const before = at === undefined ? undefined : this.machines[at];
    if (at === undefined || !before) return undefined;
    const after = { ...before, host: to };
    this.count(before, -1);
    this.count(after, 1);
    for (const policy of this.policiesOf(before)) {
      const group = this.groups.get(policy);
      if (!group) continue;
      this.countInGroup(group, before, -1);
      this.countInGroup(group, after, 1);
    }
    this.machines[at] = after;
    return after;
  }

  private count(machine: MachineView, by: 1 | -1): void {
    for (const name of new Set([machine.host, machine.movingTo])) {
      if (name === undefined) continue;
      const use = this.used.get(name) ?? { ...NONE };
      use.cpus += by * machine.cpus;
      use.memoryBytes += by * machine.memoryBytes;
      use.machines += by;
      this.used.set(name, use);
    }
  }

  private countInGroup(group: Group, machine: MachineView, by: 1 | -1): void {
    if (machine.host) group.placed += by;
    else return;
    for (const level of LEVELS)
      for (const place of this.placesOf(machine, level))
        group.counts[level].set(place, (group.counts[level].get(place) ?? 0) + by);
  }
}

const bucket = (namespace: string, [key, value]: readonly [string, string]) => `${namespace} ${key}=${value}`;

function bucketOf({ metadata, spec }: Policy): string {
  const { namespace = "default" } = metadata;
  const [label] = Object.entries(spec.selector.matchLabels ?? {});
  return label ? bucket(namespace, label) : namespace;
}

const newGroup = (): Group => ({ members: [], placed: 0, counts: { host: new Map(), rack: new Map() } });

const NONE: Use = { cpus: 0, memoryBytes: 0, machines: 0 };
const LEVELS: readonly Level[] = ["host", "rack"];

const indexes = new WeakMap<Estate, EstateIndex>();

export function indexOf(estate: Estate): EstateIndex {
  const known = indexes.get(estate);
  if (known) return known;
  const index = new EstateIndex(estate);
  indexes.set(estate, index);
  return index;
}

/** The estate with one machine on another host. The index goes on to it; asked about the estate before, it is made anew. */
export function apply(estate: Estate, key: string, to: string): Estate {
  const index = indexOf(estate);
  const at = index.position.get(key);
  const moved = index.move(key, to);
  if (at === undefined || !moved) return estate;
  const after: Estate = { ...estate, machines: estate.machines.with(at, moved) };
  indexes.delete(estate);
  indexes.set(after, index);
  return after;
}
