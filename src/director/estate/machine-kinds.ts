/** Machines that no host can tell apart are of one kind, and judged once (classes.ts). Pure. */
import type { Policy } from "../kinds.ts";
import { fixedBy } from "../rules/suits.ts";
import { AddedWatts } from "./added-watts.ts";
import type { Chosen } from "./chosen.ts";
import { Judgement, MachineKind, type Yardsticks } from "./classes.ts";
import type { HostView, MachineView } from "./estate.ts";
import { dearness } from "./goals.ts";
import type { Sight } from "./sight.ts";
import { NOTHING, Tuples } from "./tuples.ts";
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

/** Of policies that choose a machine. */
interface List {
  number: number;
  readers: readonly Policy[];
}

export class MachineKinds {
  private readonly index: Parts;
  /** Policies that have hosts of their own. */
  private readonly dedicated: ReadonlySet<string>;
  private readonly tuples = new Tuples();
  private readonly lists = new Map<readonly Policy[], List>();
  private readonly byNumber = new Map<number, MachineKind>();
  /** Many kinds differ only by what they are expected to use, and of those that use the same many only by rules: each is found once. */
  private readonly judgements = new Map<number, Judgement>();
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
    const policies = same ? this.index.chosen.of(at) : this.index.policiesOf(machine);
    const judged = this.judgedBy(machine, policies);
    const { use, cpus } = machine;
    // What its watts go by.
    const draw = use ? expectedOf(use) : -cpus;
    const number = this.tuples.with(judged, draw);
    const kind = this.byNumber.get(number) ?? this.make(judged, draw, machine, policies);
    this.byNumber.set(number, kind);
    if (same) this.known[at] = kind;
    return kind;
  }

  /** The same number for machines that are judged alike. */
  private judgedBy(machine: MachineView, policies: readonly Policy[]): number {
    const { tuples } = this;
    const { needs, platform, resumes, host } = machine;
    const list = this.listOf(policies);
    let number = tuples.with(list.number, machine.cpus);
    for (const policy of list.readers)
      number = tuples.with(number, this.index.sight.ofMachine(policy, machine));
    number = tuples.with(number, host !== undefined);
    if (needs) {
      const { offers } = needs;
      number = tuples.with(number, offers.length === 1 ? offers[0] : offers.join());
      number = tuples.with(number, needs.machineType);
      number = tuples.with(number, needs.guestCpu);
    } else number = tuples.with(number, undefined);
    // What it goes on with.
    const began = host === undefined ? resumes : (platform ?? this.hostOf(machine));
    if (!began) return tuples.with(number, undefined);
    number = tuples.with(number, began.accelerator);
    number = tuples.with(number, began.cpuModel);
    return tuples.with(number, "guestCpu" in began ? began.guestCpu : undefined);
  }

  /** The number of lists that like, require and limit the same, and those of them whose rules read something of the machine. */
  private listOf(policies: readonly Policy[]): List {
    const known = this.lists.get(policies);
    if (known) return known;
    const { chosen, sight } = this.index;
    let number = this.tuples.with(NOTHING, fixedBy(policies) !== undefined);
    for (const policy of policies) {
      number = this.tuples.with(number, chosen.contentOf(policy));
      const name = `${policy.metadata.namespace ?? "default"}/${policy.metadata.name}`;
      if (this.dedicated.has(name)) number = this.tuples.with(number, name);
    }
    const list = {
      number: this.tuples.with(number, "all"),
      readers: policies.filter((one) => sight.reads(one)),
    };
    this.lists.set(policies, list);
    return list;
  }

  /** @param judged what it is judged by @param draw what its watts go by */
  private make(judged: number, draw: number, machine: MachineView, policies: readonly Policy[]): MachineKind {
    const { sight, examples } = this.index;
    const yardsticks = this.index.yardsticks(policies[0]);
    const judgement =
      this.judgements.get(judged) ??
      new Judgement(machine, sight.asked(policies), examples, yardsticks, this.hostOf(machine));
    this.judgements.set(judged, judgement);
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
