/** Machines that no host can tell apart are of one kind, and judged once (classes.ts). Pure. */
import type { Policy } from "../kinds.ts";
import { dearness } from "../planning/goals.ts";
import { fixedBy } from "../rules/suits.ts";
import { AddedWatts } from "./added-watts.ts";
import type { Chosen } from "./chosen.ts";
import { Judgement, MachineKind, type Yardsticks } from "./classes.ts";
import type { HostView, MachineView } from "./estate.ts";
import type { Sight } from "./sight.ts";
import { expectedOf } from "./use.ts";

/** Of the index. */
interface Parts {
  hosts: ReadonlyMap<string, HostView>;
  machines: readonly MachineView[];
  /** One host of each kind. */
  examples: readonly HostView[];
  chosen: Chosen;
  sight: Sight;
  policiesOf: (machine: MachineView) => readonly Policy[];
  yardsticks: (policy: Policy | undefined) => Yardsticks;
}

export class MachineKinds {
  private readonly index: Parts;
  /** Policies that have hosts of their own. */
  private readonly dedicated: ReadonlySet<string>;
  private readonly byKey = new Map<string, MachineKind>();
  /** Many kinds differ only by what they are expected to use, and of those that use the same many only by rules: each is found once. */
  private readonly judgements = new Map<string, Judgement>();
  private readonly watts = new Map<string, AddedWatts>();
  /** By place in the estate's list. */
  private readonly known: (MachineKind | undefined)[];

  constructor(index: Parts) {
    this.index = index;
    this.dedicated = new Set([...index.hosts.values()].flatMap(({ dedicatedTo }) => dedicatedTo ?? []));
    this.known = new Array(index.machines.length);
  }

  /** Another machine is there, or the same elsewhere. */
  forget(at: number): void {
    this.known[at] = undefined;
  }

  /** It is put elsewhere. */
  moved(at: number, before: MachineView, after: MachineView | undefined): void {
    if (!after || !goesOnAlike(before, after)) this.forget(at);
  }

  /** @param at where it is in the estate's list; it may be another view of it */
  of(at: number, machine: MachineView): MachineKind {
    const same = this.index.machines[at] === machine;
    const known = same ? this.known[at] : undefined;
    if (known) return known;
    const { needs, platform, resumes, host } = machine;
    let key = `${machine.cpus}`;
    const policies = same ? this.index.chosen.of(at) : this.index.policiesOf(machine);
    for (const policy of policies)
      key += `,${this.index.chosen.contentOf(policy)}${this.index.sight.ofMachine(policy, machine)}`;
    if (this.dedicated.size > 0)
      for (const { metadata } of policies) {
        const name = `${metadata.namespace ?? "default"}/${metadata.name}`;
        if (this.dedicated.has(name)) key += `|${name}`;
      }
    if (fixedBy(policies)) key += `|fixed:${host !== undefined}`;
    if (needs) key += `|${needs.offers.join()}|${needs.machineType}|${needs.guestCpu}`;
    // What it goes on with.
    const began = host === undefined ? resumes : (platform ?? this.hostOf(machine));
    if (began)
      key += `|${host === undefined}|${began.accelerator}|${began.cpuModel}|${"guestCpu" in began ? began.guestCpu : ""}`;
    const draw = machine.use ? `of ${expectedOf(machine.use)}` : `${machine.cpus}`;
    const whole = `${key}:${draw}`;
    const kind = this.byKey.get(whole) ?? this.make(key, draw, machine, policies);
    this.byKey.set(whole, kind);
    if (same) this.known[at] = kind;
    return kind;
  }

  /** @param key what it is judged by @param draw what its watts go by */
  private make(key: string, draw: string, machine: MachineView, policies: readonly Policy[]): MachineKind {
    const { sight, examples } = this.index;
    const yardsticks = this.index.yardsticks(policies[0]);
    const judgement =
      this.judgements.get(key) ??
      new Judgement(machine, sight.asked(policies), examples, yardsticks, this.hostOf(machine));
    this.judgements.set(key, judgement);
    const { energy, cost, carbon } = judgement.weights;
    const of = `${draw}|${energy}|${cost}|${carbon}`;
    const watts = this.watts.get(of) ?? new AddedWatts(machine, examples, this.dearOf(yardsticks));
    this.watts.set(of, watts);
    return new MachineKind(judgement, watts);
  }

  /** Of each kind of host what a watt counts there. */
  private dearOf({ aim: { weights }, sites }: Yardsticks): Float64Array {
    const known = new Map<string, number>();
    return Float64Array.from(this.index.examples, ({ site }) => {
      const dear = known.get(site) ?? dearness(weights, sites, site);
      known.set(site, dear);
      return dear;
    });
  }

  private hostOf({ host }: MachineView): HostView | undefined {
    return host === undefined ? undefined : this.index.hosts.get(host);
  }
}

/** Whether a machine that was moved is of the same kind: what its run began on does not depend on where it is now. */
const goesOnAlike = (before: MachineView, after: MachineView): boolean =>
  before.platform !== undefined &&
  before.platform === after.platform &&
  before.host !== undefined &&
  after.host !== undefined;
