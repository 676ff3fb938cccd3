/** Which policies choose which machines, found once for an estate. Pure. */
import { selects } from "../../resource/selector.ts";
import { byPriority, type Policy } from "../kinds.ts";
import type { Estate, MachineView } from "./estate.ts";
import { NOTHING, Tuples } from "./tuples.ts";

export const NO_POLICIES: readonly Policy[] = [];

/** Whether the policy chooses the machine: same namespace, labels match. */
function chooses(policy: Policy, machine: MachineView): boolean {
  if ((policy.metadata.namespace ?? "default") !== machine.namespace) return false;
  return selects(policy.spec.selector, machine.labels);
}

interface Ranked {
  rank: number;
  policy: Policy;
  /** It chooses each machine that it is found for: nothing else is to be asked. */
  sure: boolean;
}

interface Filed {
  any: Ranked[];
  /** By the first label that they need, and its value. */
  by: Map<string, Map<string, Ranked[]>>;
}

export class Chosen {
  /** Of each policy that chooses any, where its machines are in the estate's list. */
  readonly members = new Map<Policy, number[]>();
  private readonly byMachine: (readonly Policy[])[];
  /** By namespace: policies that any machine may be chosen by, and those that need a label. */
  private readonly policies = new Map<string, Filed>();
  /** Of each policy that it was asked for, how many of its machines are to run. */
  private readonly running = new Map<Policy, number>();
  private readonly contents = new Map<Policy, number>();
  /** Machines that the same choose have the same list; by the number of the policies' ranks. */
  private readonly lists: (readonly Policy[] | undefined)[] = [];
  private readonly tuples = new Tuples();

  constructor({ machines, policies }: Estate) {
    this.file(policies);
    this.byMachine = machines.map((machine) => this.find(machine));
    for (const [i, chosen] of this.byMachine.entries())
      for (const policy of chosen) this.membersOf(policy).push(i);
  }

  private file(policies: readonly Policy[]): void {
    const sorted = [...policies].sort(byPriority);
    const contents = new Map<string, number>();
    for (const [rank, policy] of sorted.entries()) {
      const { metadata, spec } = policy;
      const content = JSON.stringify([spec.goals, spec.required, spec.preferred]);
      const number = contents.get(content) ?? contents.size;
      contents.set(content, number);
      this.contents.set(policy, number);
      const namespace = metadata.namespace ?? "default";
      const own: Filed = this.policies.get(namespace) ?? { any: [], by: new Map() };
      this.policies.set(namespace, own);
      const { matchLabels = {}, matchExpressions = [] } = spec.selector;
      const [label, ...more] = Object.entries(matchLabels);
      const ranked = { rank, policy, sure: more.length === 0 && matchExpressions.length === 0 };
      if (!label) {
        own.any.push(ranked);
        continue;
      }
      const values: Map<string, Ranked[]> = own.by.get(label[0]) ?? new Map<string, Ranked[]>();
      own.by.set(label[0], values);
      const filed = values.get(label[1]) ?? [];
      values.set(label[1], filed);
      filed.push(ranked);
    }
  }

  /** Those of the machine at this place in the estate's list: the highest priority first, ties by name. */
  of(at: number): readonly Policy[] {
    return this.byMachine[at] ?? NO_POLICIES;
  }

  /** Another machine is at this place from now on, which these choose. */
  put(at: number, policies: readonly Policy[]): void {
    const before = this.of(at);
    for (const policy of before) {
      const members = this.membersOf(policy);
      if (!policies.includes(policy)) members.splice(members.indexOf(at), 1);
    }
    for (const policy of policies) if (!before.includes(policy)) this.membersOf(policy).push(at);
    for (const policy of [...before, ...policies]) this.running.delete(policy);
    this.byMachine[at] = policies;
  }

  /** The same of any view of a machine. */
  find(machine: MachineView): readonly Policy[] {
    const own = this.policies.get(machine.namespace);
    if (!own) return NO_POLICIES;
    const found: Ranked[] = [];
    for (const each of own.any) if (each.sure || chooses(each.policy, machine)) found.push(each);
    for (const key in machine.labels) {
      const filed = own.by.get(key)?.get(machine.labels[key] as string);
      if (filed) for (const each of filed) if (each.sure || chooses(each.policy, machine)) found.push(each);
    }
    if (found.length === 0) return NO_POLICIES;
    found.sort((a, b) => a.rank - b.rank);
    let number = NOTHING;
    for (const { rank } of found) number = this.tuples.with(number, rank);
    const known = this.lists[number];
    if (known) return known;
    const list = found.map(({ policy }) => policy);
    this.lists[number] = list;
    return list;
  }

  membersOf(policy: Policy): number[] {
    const known = this.members.get(policy);
    if (known) return known;
    const members: number[] = [];
    this.members.set(policy, members);
    return members;
  }

  /** How many of those of the policy are to run. @param machines the estate's, as they are now */
  runningOf(policy: Policy, machines: readonly MachineView[]): number {
    const known = this.running.get(policy);
    if (known !== undefined) return known;
    const count = this.membersOf(policy).reduce((sum, at) => sum + (machines[at]?.off ? 0 : 1), 0);
    this.running.set(policy, count);
    return count;
  }

  /** The same number for policies that like and require the same. */
  contentOf(policy: Policy): number | undefined {
    return this.contents.get(policy);
  }
}
