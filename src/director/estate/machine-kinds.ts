/** Machines that no host can tell apart are of one kind, and judged once (classes.ts). Pure. */
import type { Policy } from "../kinds.ts";
import { fixedBy } from "../rules/suits.ts";
import type { Chosen } from "./chosen.ts";
import { MachineKind, type Yardsticks } from "./classes.ts";
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
    if (machine.use) key += `:${expectedOf(machine.use)}`;
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
    const kind =
      this.byKey.get(key) ??
      new MachineKind(
        machine,
        this.index.sight.asked(policies),
        this.index.examples,
        this.index.yardsticks(policies[0]),
        this.hostOf(machine),
      );
    this.byKey.set(key, kind);
    if (same) this.known[at] = kind;
    return kind;
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
