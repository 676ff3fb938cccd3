/**
 * What the rules of all policies see of hosts and machines: which of them no rule can tell apart, so that each kind of them is judged once. A rule about hosts
 * alone sees of a host whether it is kept. One about both is asked of all combinations of what it reads.
 *
 * There may be as many combinations as there are hosts times machines (`machine.name != host.name`). All rules together are asked of so many as take about a second, those of each
 * namespace of an equal share at least: nobody's rules use up what others' need. What would take the longest, beyond that, is too dear: nobody asks it of the whole estate, and so no
 * machine comes to a host by it. That is told. Never does such a rule silently not hold. Pure.
 */

import type { Policy } from "../kinds.ts";
import type { Subject } from "../rules/attributes.ts";
import { type Expression, expressionOf, type Seen } from "../rules/expressions.ts";
import type { HostView, MachineView } from "./estate.ts";

/** Steps of the evaluations of all rules that read both hosts and machines: about a second. A short rule has five of them, and as many outcomes as that makes are kept for the next time (expressions.ts). */
const MOST_STEPS = 5_000_000;

/** How many hosts and how many machines a rule sees differently. */
export interface Dear {
  hosts: number;
  machines: number;
}

/** One rule, and all that it sees of hosts. */
interface Asked {
  rule: string;
  expression: Expression;
  hosts: Projected;
  portions: readonly Portion[];
}

/** Policies of one namespace that have the same rule, and all that it sees of their machines. */
interface Portion {
  policies: readonly Policy[];
  machines: ReadonlyMap<string, Seen>;
  /** Of its evaluations for one of the machines. */
  stepsEach: number;
}

/** Each text has the number of its first appearance. */
class Numbers {
  readonly known = new Map<string, number>();
  of(text: string): number {
    const number = this.known.get(text);
    if (number !== undefined) return number;
    this.known.set(text, this.known.size);
    return this.known.size - 1;
  }
}

const rulesOf = ({ spec }: Policy): string[] => [
  ...(spec.required ?? []),
  ...(spec.preferred ?? []).map(({ rule }) => rule),
];

export class Sight {
  /** Hosts of one number are alike for all rules. */
  readonly ofHosts: Int32Array;
  /** By namespace and rule. */
  private readonly dear = new Map<string, Dear>();
  /** By policy its rules that read something of machines, each with the kind of machine by what it reads. */
  private readonly aboutMachines = new Map<Policy, readonly [Expression, ReadonlyMap<string, number>][]>();

  constructor(
    hosts: readonly HostView[],
    policies: readonly Policy[],
    chosenBy: (policy: Policy) => readonly MachineView[],
  ) {
    this.ofHosts = new Int32Array(hosts.length);
    const users = new Map<string, Policy[]>();
    for (const policy of policies)
      for (const rule of new Set(rulesOf(policy))) {
        const known = users.get(rule);
        if (known) known.push(policy);
        else users.set(rule, [policy]);
      }
    const portionOf = (of: readonly Policy[], expression: Expression, kinds: number): Portion => {
      const machines = new Map<string, Seen>();
      for (const policy of of)
        for (const machine of chosenBy(policy)) {
          const own = expression.see.machine(machine);
          if (!machines.has(own.text)) machines.set(own.text, own);
        }
      return { policies: of, machines, stepsEach: kinds * expression.steps };
    };
    const projected = new Map<string, Projected>();
    const asked = [...users].map(([rule, of]): Asked => {
      const expression = expressionOf(rule);
      const reads = JSON.stringify(expression.paths.host);
      const seen = projected.get(reads) ?? project(hosts, expression);
      projected.set(reads, seen);
      const byNamespace = expression.paths.machine.length > 0 ? Map.groupBy(of, namespaceOf).values() : [];
      const portions = [...byNamespace].map((own) => portionOf(own, expression, seen.examples.length));
      return { rule, expression, hosts: seen, portions };
    });
    const byPolicy = new Map<Policy, [Expression, ReadonlyMap<string, number>][]>();
    const isBearable = bearable(asked);
    for (const { rule, expression, hosts: seen, portions } of asked) {
      const machines = new Map<string, Seen>();
      if (expression.paths.machine.length === 0) machines.set("", expression.see.machine(ANY));
      for (const portion of portions)
        if (isBearable.has(portion)) for (const [text, own] of portion.machines) machines.set(text, own);
        else
          for (const policy of portion.policies)
            this.dear.set(keyOf(policy, rule), {
              hosts: seen.examples.length,
              machines: portion.machines.size,
            });
      const { ofHost, ofMachine } = tell(expression, seen.examples, machines);
      this.refine(seen.of, ofHost);
      for (const portion of portions)
        if (isBearable.has(portion))
          for (const policy of portion.policies)
            byPolicy.set(policy, [...(byPolicy.get(policy) ?? []), [expression, ofMachine]]);
    }
    this.aboutMachines = byPolicy;
  }

  /** Why the policy's rule is asked of no whole estate; undefined: it is asked. */
  tooDear(policy: Policy, rule: string): Dear | undefined {
    return this.dear.get(keyOf(policy, rule));
  }

  /** The policies without rules that are too dear; `closed`: they require one that is, so that no machine of theirs comes to a host. */
  asked(policies: readonly Policy[]): { policies: readonly Policy[]; closed: boolean } {
    if (this.dear.size === 0) return { policies, closed: false };
    const isDear = (policy: Policy) => (rule: string) => this.tooDear(policy, rule) !== undefined;
    const without = policies.map((policy) => {
      const { required = [], preferred = [] } = policy.spec;
      if (!rulesOf(policy).some(isDear(policy))) return policy;
      const spec = {
        ...policy.spec,
        required: required.filter((rule) => !isDear(policy)(rule)),
        preferred: preferred.filter(({ rule }) => !isDear(policy)(rule)),
      };
      return { ...policy, spec };
    });
    const closed = policies.some((policy) => policy.spec.required?.some(isDear(policy)));
    return { policies: without, closed };
  }

  /** Hosts that were alike, and are not for one more rule, are so no more. */
  private refine(of: Int32Array, kindOf: readonly number[]): void {
    const numbers = new Map<number, number>();
    const kinds = kindOf.reduce((most, kind) => Math.max(most, kind), 0) + 1;
    if (kinds === 1) return;
    for (let h = 0; h < of.length; h++) {
      const pair = (this.ofHosts[h] as number) * kinds + (kindOf[of[h] as number] as number);
      let number = numbers.get(pair);
      if (number === undefined) {
        number = numbers.size;
        numbers.set(pair, number);
      }
      this.ofHosts[h] = number;
    }
  }

  /** Whether one that is to the policy's rules like this machine was there when hosts were told apart. */
  knows(policy: Policy, machine: MachineView): boolean {
    const rules = this.aboutMachines.get(policy) ?? [];
    return rules.every(([expression, kinds]) => kinds.has(expression.see.machine(machine).text));
  }

  /** Whether any of the policy's rules sees something of machines, or would if it were asked. */
  reads(policy: Policy): boolean {
    return (
      this.aboutMachines.has(policy) ||
      rulesOf(policy).some((rule) => this.tooDear(policy, rule) !== undefined)
    );
  }

  /** What the policy's rules see of the machine: alike for them where it is the same. */
  ofMachine(policy: Policy, machine: MachineView): string {
    // Two policies with the same rules, of two namespaces, are not asked the same then.
    const dear = this.dear.size === 0 ? [] : rulesOf(policy).filter((rule) => this.tooDear(policy, rule));
    const unasked = dear.map((rule) => `!${rule}`).join("");
    const rules = this.aboutMachines.get(policy);
    if (!rules) return unasked;
    return rules
      .map(([expression, kinds]) => {
        const { text } = expression.see.machine(machine);
        // Of another view of it than the estate's.
        return `;${kinds.get(text) ?? text}`;
      })
      .join("")
      .concat(unasked);
  }
}

const namespaceOf = ({ metadata }: Policy) => metadata.namespace ?? "default";
/** No namespace has a space. */
const keyOf = (policy: Policy, rule: string) => `${namespaceOf(policy)} ${rule}`;

/** Those that are not too dear: of each namespace the cheapest, as far as its share of all steps goes; then the cheapest of all, as far as there are any left. */
function bearable(asked: readonly Asked[]): ReadonlySet<Portion> {
  const ruleOf = new Map(asked.flatMap(({ rule, portions }) => portions.map((one) => [one, rule] as const)));
  const steps = ({ machines, stepsEach }: Portion) => machines.size * stepsEach;
  const cheapest = [...ruleOf.keys()].sort((a, b) => steps(a) - steps(b));
  const taken = new Set<Portion>();
  // By rule: what another namespace's machines have alike is asked once.
  const known = new Map<string, Set<string>>();
  let left = MOST_STEPS;
  const take = (portion: Portion) => {
    const rule = ruleOf.get(portion) ?? "";
    const texts = known.get(rule) ?? new Set();
    const more = [...portion.machines.keys()].filter((text) => !texts.has(text));
    if (more.length * portion.stepsEach > left) return;
    left -= more.length * portion.stepsEach;
    for (const text of more) texts.add(text);
    known.set(rule, texts);
    taken.add(portion);
  };
  const byNamespace = Map.groupBy(cheapest, ({ policies: [first] }) => first && namespaceOf(first));
  for (const own of byNamespace.values()) {
    let share = MOST_STEPS / byNamespace.size;
    for (const portion of own) {
      share -= steps(portion);
      if (share >= 0) take(portion);
    }
  }
  for (const portion of cheapest) if (!taken.has(portion)) take(portion);
  return taken;
}

/** For rules that read nothing of it. */
const ANY: Subject = { name: "", namespace: "", labels: {}, cpus: 0, memoryBytes: 0 };

/** What an expression reads of hosts: of each host which of the examples it is like. */
interface Projected {
  of: Int32Array;
  examples: Seen[];
}

function project(hosts: readonly HostView[], expression: Expression): Projected {
  const numbers = new Numbers();
  const examples: Seen[] = [];
  const of = Int32Array.from(hosts, (host) => {
    const own = expression.see.host(host);
    const number = numbers.of(own.text);
    if (number === examples.length) examples.push(own);
    return number;
  });
  return { of, examples };
}

/** The kinds of hosts and of machines for one rule. @param machines by what it reads of them */
function tell(
  expression: Expression,
  hosts: readonly Seen[],
  machines: ReadonlyMap<string, Seen>,
): { ofHost: number[]; ofMachine: Map<string, number> } {
  const list = [...machines.values()];
  const [rows, columns] = [new Numbers(), new Numbers()];
  const own: string[][] = list.map(() => []);
  const ofHost = hosts.map((host) => {
    let row = "";
    for (const [m, machine] of list.entries()) {
      const kept = expression.decideSeen(host, machine) === true ? "1" : "0";
      row += kept;
      own[m]?.push(kept);
    }
    return rows.of(row);
  });
  return {
    ofHost,
    ofMachine: new Map([...machines.keys()].map((text, m) => [text, columns.of(own[m]?.join("") ?? "")])),
  };
}
