/** Why no host can run a machine: what each says, and without which rules one could. Pure. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { failoverRules } from "../failover/failover.ts";
import type { Obstacle } from "../rules/rules.ts";
import { againstEach, isReservedFrom, onlyRules, withFailover } from "./judge.ts";

/** So many hosts, or reasons, are told one by one. */
const EACH = 8;

/** Of so many hosts it is looked at whose failover would have to go. */
const RELAXED_LOOKS = 40;

export function refusal(estate: Estate, machine: MachineView, hosts: readonly HostView[]): string {
  const all = againstEach(estate, machine, hosts);
  const free = withFailover(estate, machine, new Map([...all].filter(([, against]) => against.length === 0)));
  const told = [...all].flatMap(([host, against]) => {
    const [first] = free.get(host) ?? against;
    return first ? [{ host: host.name, first }] : [];
  });
  return [each(told), ...relaxation(estate, machine, all)].join("; ");
}

/** What each host says, or when there are many, how many say the same. */
function each(all: readonly { host: string; first: Obstacle }[]): string {
  if (all.length <= EACH) return all.map(({ host, first }) => `${host}: ${first.why}`).join("; ");
  const alike = [...Map.groupBy(all, ({ first }) => first.about)].sort(([, a], [, b]) => b.length - a.length);
  const told = alike.slice(0, EACH).map(([about, of]) => {
    const [one, two] = of;
    const same = new Set(of.map(({ first }) => first.why)).size === 1;
    const why = same && one ? one.first.why : about;
    if (!two) return `${one?.host}: ${why}`;
    return `${of.length} hosts (${one?.host}, ${two.host}${of.length > 2 ? ", …" : ""}): ${why}`;
  });
  const rest = alike.slice(EACH).reduce((sum, [, of]) => sum + of.length, 0);
  return [...told, ...(rest > 0 ? [`${rest} more hosts for other reasons`] : [])].join("; ");
}

/** The fewest rules without which some host could run it, what failover reserves among them, and which hosts; nothing when it is not for rules of policies. */
function relaxation(estate: Estate, machine: MachineView, all: ReturnType<typeof againstEach>): string[] {
  const free = [...all]
    .filter(([, against]) => onlyRules(against))
    .sort(([, a], [, b]) => a.length - b.length);
  const reserved = isReservedFrom(estate, machine) ? failoverRules(estate, machine) : undefined;
  const sets = new Map<string, string[]>();
  let fewest = Number.POSITIVE_INFINITY;
  for (const [i, [host, against]] of free.entries()) {
    if (against.length > fewest || (reserved && i >= RELAXED_LOOKS)) break;
    const others = reserved ? reserved(host) : [];
    // Nothing is said that may not be enough.
    if (!others) continue;
    const rules = [...against.map(({ about }) => about), ...others];
    if (rules.length === 0 || rules.length > fewest) continue;
    if (rules.length < fewest) sets.clear();
    fewest = rules.length;
    const words = rules.join(" and ");
    const opened = sets.get(words);
    if (opened) opened.push(host.name);
    else sets.set(words, [host.name]);
  }
  // The one that opens most hosts.
  const [best] = [...sets].sort(([, a], [, b]) => b.length - a.length);
  if (!best) return [];
  const [rules, opened] = best;
  const more = opened.length > 2 ? `, … (${opened.length} hosts)` : "";
  return [`without ${rules} it could run on ${opened.slice(0, 2).join(", ")}${more}`];
}
