/**
 * The server's last word on the rules of policies, when an Instance gets its host. Scheduler, migrations and users have each looked at an
 * estate that may be old by now: two of them could each do what is allowed, and break a rule together. All of them have to write the host here,
 * one after the other. Pure.
 *
 * The same rules as rules.ts, on stored objects and of one machine only: no index of the whole estate is made for one write. A machine
 * that moves counts on both hosts; of how many are elsewhere at least (spread) it counts on neither, since its move may yet fail. Machines that
 * are kept together can be moved by hand only when one may go first: so that rule does not bind a user's own move.
 */
import { needsOf } from "../../compute/hardware/kinds.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { cpusOf, memoryOf } from "../../compute/resources/kinds.ts";
import { type Cause, forbiddenField } from "../../resource/errors.ts";
import { invalidity } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import { selects } from "../../resource/selector.ts";
import { domainOf, type HostView, type Level, viewHost } from "../estate/estate.ts";
import { type KeptMachines, keptMachines } from "../estate/kept-machines.ts";
import { byPriority, mostOf, Policy } from "../kinds.ts";
import type { Subject } from "./attributes.ts";
import { standing } from "./standing.ts";
import { allows, dedicatedBreach, fixedBy, fixedWords, requiredBreach, shareWords } from "./suits.ts";

/** What is wrong with the host that an Instance gets. */
export function checkRules(object: Instance, old: Instance | undefined, lookup: Lookup): Cause[] {
  const { spec, metadata } = object;
  // One with a version but no old form is one that is mended: where it is was decided when it came there.
  if (!spec.host || old?.spec.host || (!old && metadata.resourceVersion)) return [];
  const policies = lookup.list(Policy, metadata.namespace).filter((policy) => !invalidity(policy));
  const hosts = lookup.list(Host);
  const host = hosts.find((one) => one.metadata.name === spec.host && !invalidity(one));
  if (policies.length === 0 && !host?.spec.dedicatedTo) return [];
  const machines = keptMachines(lookup);
  const labels = machines.labelsOf(object);
  const own = policies
    .filter((policy) => selects(policy.spec.selector, labels))
    .map(standing)
    .sort(byPriority);
  if (own.length === 0 && !host?.spec.dedicatedTo) return [];
  const view = host && viewOf(host);
  const byHand = spec.incoming && !spec.placement?.plan;
  const groups = own.filter(({ spec: of }) => of.keepApart || of.keepTogether || of.spread || of.atMost);
  const fixed = spec.incoming ? fixedBy(own) : undefined;
  const untold =
    host && !view && (host.spec.dedicatedTo || own.some((policy) => policy.spec.required?.length));
  const subject = subjectOf(object, machines);
  const why =
    (fixed && fixedWords(fixed)) ??
    (untold
      ? "it has not told yet what it is: whether it keeps the rules of policies cannot be said"
      : undefined) ??
    (view && dedicatedBreach(own, view)) ??
    (view && requiredBreach(own, view, subject)) ??
    groups
      .map((policy) => {
        const { vms, runs } = machines.chosenBy(policy.spec.selector, metadata.namespace);
        const members = runs.filter(
          (other) =>
            other.status?.custody !== "Released" && other.spec?.host && other.spec.vmUid !== spec.vmUid,
        );
        const counted = () => {
          const there = [object, ...members].map((instance) => instance.spec.vmUid);
          const countWith = (more: readonly VirtualMachine[]) =>
            new Set([...there, ...more.map((vm) => vm.metadata.uid)]).size;
          return { chosen: countWith(vms), running: countWith(vms.filter((vm) => machines.isToRun(vm))) };
        };
        const broken = groupBreach(policy.spec, spec.host as string, {
          ...{ members, counted, hosts, byHand },
          mayHave: (one) => allows(own, one, subject),
        });
        return broken && `policy ${JSON.stringify(policy.metadata.name)} ${broken}`;
      })
      .find((broken) => broken !== undefined);
  return why ? [forbiddenField("spec.host", `host ${spec.host}: ${why}`)] : [];
}

function subjectOf({ spec, metadata }: Instance, machines: KeptMachines): Subject {
  const vm = machines.vms.get(spec.vmUid);
  // A run does not copy it.
  const { latencySensitivity } = vm && !invalidity(vm) ? vm.spec : {};
  return {
    name: spec.vm,
    namespace: metadata.namespace ?? "default",
    labels: machines.labelsOf({ spec, metadata }),
    cpus: cpusOf(spec),
    memoryBytes: memoryOf(spec),
    needs: needsOf(spec),
    ...(latencySensitivity ? { latencySensitivity } : {}),
  };
}

/** Undefined of a host that has not told yet what it is, or is odd. */
function viewOf(host: Host): HostView | undefined {
  try {
    return viewHost(host);
  } catch {
    return undefined;
  }
}

interface Group {
  /** Runs of the policy's other machines that are on a host. */
  members: readonly Instance[];
  /** How many machines it chooses, wherever they are, and how many of them are to run. */
  counted: () => { chosen: number; running: number };
  hosts: readonly Host[];
  byHand: boolean | undefined;
  /** By what is required of it. */
  mayHave: (host: HostView) => boolean;
}

function groupBreach(
  { keepApart, keepTogether, spread, atMost }: Policy["spec"],
  on: string,
  { members, counted, hosts, byHand, mayHave }: Group,
): string | undefined {
  const domainAt = (level: Level) => {
    const domains = new Map(
      hosts.map(({ metadata: { name }, spec }) => [
        name,
        domainOf({ ...spec, name, site: spec?.site ?? "", rack: spec?.rack ?? name }, level),
      ]),
    );
    return (host: string) => domains.get(host) ?? `\n${host}`;
  };
  if (keepApart) {
    const domain = domainAt(keepApart);
    const there = members.find((other) => domain(hostOf(other)) === domain(on));
    if (there) return `keeps its machines on different ${keepApart}s, ${there.spec.vm} is there`;
  }
  if (keepTogether && !byHand) {
    const domain = domainAt(keepTogether);
    const elsewhere = members.find((other) => domain(hostOf(other)) !== domain(on));
    if (elsewhere)
      return `keeps its machines on one ${keepTogether}, ${elsewhere.spec.vm} is on ${hostOf(elsewhere)}`;
  }
  if (atMost) {
    const domain = domainAt(atMost.per);
    const there = members.filter((other) => domain(hostOf(other)) === domain(on));
    const here = new Set(there.map((run) => run.spec.vmUid)).size;
    const { chosen, running } = counted();
    const most = mostOf(atMost, chosen, running);
    if (here >= most)
      return `has at most ${most}${shareWords(atMost, chosen, running)} of its machines on one ${atMost.per}, ${here} are there`;
  }
  if (spread) {
    const domain = domainAt(spread);
    const machines = [...Map.groupBy(members, (other) => other.spec.vmUid).values()].map(
      (runs) => new Set(runs.map((run) => domain(hostOf(run)))),
    );
    const here = machines.filter((domains) => domains.has(domain(on))).length;
    // Nobody has fewer than none.
    if (here === 0) return undefined;
    // Those that count, as of the director (estate/spread-reach.ts): 2 in any case, 1 where it has some. Of what is only known by name nothing is known.
    const counted = new Map<string, number>();
    for (const host of hosts) {
      const view = invalidity(host) ? undefined : viewOf(host);
      const counts = !view ? 1 : !mayHave(view) ? 0 : view.closed === undefined ? 2 : 1;
      const there = domain(host.metadata.name);
      counted.set(there, Math.max(counted.get(there) ?? 0, counts));
    }
    const all = new Set(
      machines.flatMap((domains) => [...domains]).filter((each) => counted.get(each) !== 0),
    );
    for (const [each, counts] of counted) if (counts === 2) all.add(each);
    const settled = machines.filter((domains) => domains.size === 1);
    const fewest = Math.min(...[...all].map((each) => settled.filter((domains) => domains.has(each)).length));
    if (here > fewest)
      return `spreads its machines over ${spread}s: ${here} of them here, ${fewest} elsewhere`;
  }
  return undefined;
}

const hostOf = ({ spec }: Instance): string => spec.host ?? "";
