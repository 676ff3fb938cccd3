/**
 * What the rules of all policies see of hosts and machines: which of them no rule can tell apart, so that each kind of them is judged once. A rule about hosts
 * alone sees of a host whether it is kept. One about both is asked of all combinations of what it reads, where these are few; else each that reads
 * differently is a kind of its own. Pure.
 */

import type { Policy } from "../kinds.ts";
import type { Subject } from "../rules/attributes.ts";
import { type Expression, expressionOf } from "../rules/expressions.ts";
import type { HostView, MachineView } from "./estate.ts";

/** Combinations of hosts and machines that a rule is asked of. */
const MOST_ASKED = 50_000;

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
    const projected = new Map<string, Projected>();
    const byPolicy = new Map<Policy, [Expression, ReadonlyMap<string, number>][]>();
    for (const [rule, of] of users) {
      const expression = expressionOf(rule);
      const reads = JSON.stringify(expression.paths.host);
      const seen = projected.get(reads) ?? project(hosts, expression);
      projected.set(reads, seen);
      const machines = new Map<string, Subject>();
      const aboutMachines = expression.paths.machine.length > 0;
      if (!aboutMachines) machines.set("", ANY);
      else
        for (const policy of of)
          for (const machine of chosenBy(policy)) machines.set(expression.project.machine(machine), machine);
      const { ofHost, ofMachine } = tell(expression, seen.examples, machines);
      this.refine(seen.of, ofHost);
      if (!aboutMachines) continue;
      for (const policy of of)
        byPolicy.set(policy, [...(byPolicy.get(policy) ?? []), [expression, ofMachine]]);
    }
    this.aboutMachines = byPolicy;
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
    return rules.every(([expression, kinds]) => kinds.has(expression.project.machine(machine)));
  }

  /** What the policy's rules see of the machine: alike for them where it is the same. */
  ofMachine(policy: Policy, machine: MachineView): string {
    const rules = this.aboutMachines.get(policy);
    if (!rules) return "";
    return rules
      .map(([expression, kinds]) => {
        const text = expression.project.machine(machine);
        // Of another view of it than the estate's.
        return `;${kinds.get(text) ?? text}`;
      })
      .join("");
  }
}

/** For rules that read nothing of it. */
const ANY: Subject = { name: "", namespace: "", labels: {}, cpus: 0, memoryBytes: 0 };

/** What an expression reads of hosts: of each host which of the examples it is like. */
interface Projected {
  of: Int32Array;
  examples: HostView[];
}

function project(hosts: readonly HostView[], expression: Expression): Projected {
  const numbers = new Numbers();
  const examples: HostView[] = [];
  const of = Int32Array.from(hosts, (host) => {
    const number = numbers.of(expression.project.host(host));
    if (number === examples.length) examples.push(host);
    return number;
  });
  return { of, examples };
}

/** The kinds of hosts and of machines for one rule. @param machines by what it reads of them */
function tell(
  expression: Expression,
  hosts: readonly HostView[],
  machines: ReadonlyMap<string, Subject>,
): { ofHost: number[]; ofMachine: Map<string, number> } {
  if (hosts.length * machines.size > MOST_ASKED)
    return {
      ofHost: hosts.map((_, i) => i),
      ofMachine: new Map([...machines.keys()].map((text, i) => [text, i])),
    };
  const list = [...machines.values()];
  const kept = hosts.map((host) =>
    list.map((machine) => (expression.decide(host, machine) === true ? "1" : "0")),
  );
  const [rows, columns] = [new Numbers(), new Numbers()];
  return {
    ofHost: kept.map((row) => rows.of(row.join(""))),
    ofMachine: new Map(
      [...machines.keys()].map((text, m) => [text, columns.of(kept.map((row) => row[m]).join(""))]),
    ),
  };
}
