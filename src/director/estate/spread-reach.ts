/**
 * Which places count when machines are spread: those with a host that may ever have the machine by what is required of it, so that a site that its policies exclude does not
 * block all others for having none. Kubernetes calls that nodeAffinityPolicy: Honor. A place that is full counts, and so does one where hosts lack hardware for it. Pure.
 */
import type { Policy } from "../kinds.ts";
import { standing } from "../rules/standing.ts";
import { allows } from "../rules/suits.ts";
import type { Tallies } from "../solver/model.ts";
import type { HostKinds } from "./classes.ts";
import type { HostView, MachineView } from "./estate.ts";
import type { Sight } from "./sight.ts";

/** Of the index. */
interface Parts {
  /** Those of the estate; hosts behind them are only known by name. */
  hosts: readonly HostView[];
  kinds: HostKinds;
  sight: Sight;
  tallies: Tallies;
  /** How many hosts there are, with those that are only known by name. */
  count: number;
  /** The same number for policies that require the same. */
  contentOf: (policy: Policy) => number | undefined;
}

export class SpreadReach {
  private readonly of: Parts;
  private readonly isAnyDedicated: boolean;
  /** By what is asked of hosts, and by what they answer. */
  private readonly byKey = new Map<string, number>();
  private readonly byHosts = new Map<string, number>();
  private readonly narrowed = new Map<readonly Policy[], boolean>();

  constructor(of: Parts) {
    this.of = of;
    this.isAnyDedicated = of.kinds.examples.some(({ dedicatedTo }) => dedicatedTo !== undefined);
  }

  /** What Tallies.reach has of it. @param policies of the machine */
  find(machine: MachineView, policies: readonly Policy[]): number {
    if (!this.isNarrowed(policies)) return 0;
    const { sight, contentOf } = this.of;
    const key = policies
      .map((policy) => {
        const name = this.isAnyDedicated ? `|${policy.metadata.namespace}/${policy.metadata.name}` : "";
        return `${contentOf(policy)}${sight.ofMachine(policy, machine)}${name}`;
      })
      .join();
    const known = this.byKey.get(key) ?? this.judge(machine, policies);
    this.byKey.set(key, known);
    return known;
  }

  /** Whether machines that these choose are spread over less than all places. */
  private isNarrowed(policies: readonly Policy[]): boolean {
    const known = this.narrowed.get(policies);
    if (known !== undefined) return known;
    const narrowed =
      policies.some(({ spec }) => spec.spread) &&
      (this.isAnyDedicated || policies.some(({ spec }) => spec.required?.length));
    this.narrowed.set(policies, narrowed);
    return narrowed;
  }

  private judge(machine: MachineView, policies: readonly Policy[]): number {
    const { hosts, kinds, tallies, count } = this.of;
    const lasting = policies.map(standing);
    const may = (host: HostView) => allows(lasting, host, machine);
    // Hosts of one kind are alike for whole rules, not for what remains of one that speaks of this hour.
    const alike = lasting.every((policy, i) => policy === policies[i]);
    const ofKind = alike ? kinds.examples.map(may) : [];
    const takes = Uint8Array.from(hosts, (host, h) =>
      (alike ? ofKind[kinds.of[h] as number] : may(host)) ? 1 : 0,
    );
    if (!takes.includes(0)) return 0;
    const same = takes.join("");
    const known = this.byHosts.get(same);
    if (known !== undefined) return known;
    const levels = tallies.open.length;
    const reach = Math.max(levels, tallies.reached.length) / levels;
    for (let l = 0; l < levels; l++) {
      const flags = new Uint8Array(tallies.domainCounts[l] as number);
      for (let h = 0; h < count; h++) {
        const d = tallies.domains[l * count + h] as number;
        const closed = hosts[h]?.closed !== undefined;
        // Of what is only known by name nothing is known.
        if (h >= hosts.length || takes[h] === 1)
          flags[d] = Math.max(flags[d] as number, closed || h >= hosts.length ? 1 : 2);
      }
      tallies.reached[reach * levels + l] = flags;
    }
    this.byHosts.set(same, reach);
    return reach;
  }
}
