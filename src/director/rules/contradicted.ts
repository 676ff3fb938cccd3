/** Rules of policies that machines which are there cannot keep, because of what other policies of theirs say: by policy, in words. Pure. */
import { keyOf } from "../../resource/object.ts";
import { domainOf, type Estate, type Level, type MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { between, inWords, turned } from "./between.ts";
import { contradictionsBetween, dedicationIn } from "./contradictions.ts";
import { expressionOf } from "./expressions.ts";
import { nameOf } from "./rules.ts";

/** So many contradictions of a policy, and machines of one, are told. */
const EACH = 5;
const NAMES = 3;
/** Of more policies whose machines are kept together not all pairs are looked at. */
const MOST_TOGETHER = 50;

/** What is the same of all hosts in one of these. */
const SAME: Record<Level, readonly string[]> = {
  host: [],
  rack: ["host.rack", "host.row", "host.site"],
  row: ["host.row", "host.site"],
  feed: ["host.feed", "host.site"],
  site: ["host.site"],
};

type Told = Map<Policy, string[]>;

/** Of policies that are not in it nothing is known that no machines could keep. */
export function contradicted(estate: Estate): Told {
  const told: Told = new Map();
  const tell = (policy: Policy, words: string) => {
    const known = told.get(policy);
    if (!known) told.set(policy, [words]);
    else if (known.length < EACH) known.push(words);
  };
  const index = indexOf(estate);
  const places = placesOf(estate);
  for (const [policy, others] of sharing(estate))
    for (const [other, machines] of others) {
      const chosen = [policy, other].map((each) => () => index.membersOf(each).length);
      for (const found of between(policy, other)) {
        const counted = chosen[found.counted]?.() ?? 0;
        if (found.bears !== "always" && !found.bears({ both: machines.length, chosen: counted, places }))
          continue;
        const whom = named(machines);
        tell(policy, `${inWords(found, other)}, for ${whom}`);
        tell(other, `${inWords(turned(found), policy)}, for ${whom}`);
      }
    }
  for (const policy of estate.policies) {
    for (const words of dedicatedToOthers(estate, policy)) tell(policy, words);
    if (policy.spec.keepTogether)
      for (const words of drawnApart(estate, policy, policy.spec.keepTogether)) tell(policy, words);
  }
  return told;
}

const named = (machines: readonly MachineView[]): string =>
  `${machines
    .slice(0, NAMES)
    .map(({ name }) => name)
    .join(", ")}${machines.length > NAMES ? `, … (${machines.length} machines)` : ""}`;

const saysMuch = ({ spec }: Policy) =>
  Boolean(spec.required?.length || spec.keepTogether || spec.keepApart || spec.spread || spec.atMost);

/** Each two policies that choose the same machines, and these. */
function sharing(estate: Estate): Map<Policy, Map<Policy, MachineView[]>> {
  const pairs = new Map<Policy, Map<Policy, MachineView[]>>();
  const index = indexOf(estate);
  for (const [at, machine] of index.machines.entries()) {
    const policies = index.policiesAt(at);
    if (policies.length < 2) continue;
    const saying = policies.filter(saysMuch);
    for (const [i, policy] of saying.entries())
      for (const other of saying.slice(i + 1)) {
        const own = pairs.get(policy) ?? new Map<Policy, MachineView[]>();
        pairs.set(policy, own);
        const machines = own.get(other);
        if (machines) machines.push(machine);
        else own.set(other, [machine]);
      }
  }
  return pairs;
}

/** How many of these there are that take machines. */
function placesOf({ hosts }: Estate): (level: Level) => number {
  const open = hosts.filter(({ closed }) => closed === undefined);
  const known = new Map<Level, number>();
  return (level) => {
    const count = known.get(level) ?? new Set(open.map((host) => domainOf(host, level))).size;
    known.set(level, count);
    return count;
  };
}

interface Dedication {
  field: string;
  text: string;
  owners: readonly string[];
}

const dedicationsOf = ({ spec }: Policy): Dedication[] =>
  (spec.required ?? []).flatMap((rule, i) => {
    const owners = dedicationIn(rule);
    return owners ? [{ field: `spec.required[${i}]`, text: expressionOf(rule).text, owners }] : [];
  });

const membersOf = (estate: Estate, policy: Policy): MachineView[] =>
  indexOf(estate)
    .membersOf(policy)
    .flatMap((at) => indexOf(estate).machines[at] ?? []);

/** Machines that the owners of those hosts do not choose. */
const strangers = (estate: Estate, machines: readonly MachineView[], { owners }: Dedication) =>
  machines.filter(
    (machine) =>
      !indexOf(estate)
        .policiesOf(machine)
        .some((policy) => owners.includes(keyOf(policy))),
  );

function dedicatedToOthers(estate: Estate, policy: Policy): string[] {
  return dedicationsOf(policy).flatMap((dedication) => {
    const { field, text, owners } = dedication;
    const others = strangers(estate, membersOf(estate, policy), dedication);
    return others.length > 0
      ? [
          `${field} (${text}) can never hold for ${named(others)}: hosts dedicated to ${owners.join(" or ")} take only machines that it chooses`,
        ]
      : [];
  });
}

/** Machines that are kept together, of which other policies want what no one place has. */
function drawnApart(estate: Estate, policy: Policy, level: Level): string[] {
  const members = membersOf(estate, policy);
  const own = `spec.keepTogether (${level})`;
  const byOther = new Map<Policy, MachineView[]>();
  for (const machine of members)
    for (const other of indexOf(estate).policiesOf(machine))
      if (other !== policy && other.spec.required?.length)
        byOther.set(other, [...(byOther.get(other) ?? []), machine]);
  const others = [...byOther].slice(0, MOST_TOGETHER);
  const said: string[] = [];
  for (const [i, [first, some]] of others.entries()) {
    if (level === "host")
      for (const dedication of dedicationsOf(first)) {
        const left = strangers(estate, members, dedication).filter((machine) => !some.includes(machine));
        if (left.length > 0)
          said.push(
            `${own} can never hold together with ${dedication.field} (${dedication.text}) of ${nameOf(first)}, for ${named(some)} and ${named(left)}: those hosts do not take the latter`,
          );
      }
    for (const [second, more] of others.slice(i + 1)) {
      // Told of the two already.
      if (some.some((machine) => more.includes(machine))) continue;
      const [a, b] = [first.spec.required ?? [], second.spec.required ?? []];
      for (const { first: x, second: y, attributes } of contradictionsBetween(a, b))
        if (level === "host" || attributes.some((attribute) => SAME[level].includes(attribute)))
          said.push(
            `${own} can never hold: ${nameOf(first)} wants ${textOf(a, x)} for ${named(some)}, and ${nameOf(second)} ${textOf(b, y)} for ${named(more)}`,
          );
    }
  }
  return said;
}
const textOf = (rules: readonly string[], i: number) =>
  `${expressionOf(rules[i] ?? "").text} (spec.required[${i}])`;
