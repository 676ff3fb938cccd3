/** Limits of moves that the director makes by itself: how many an hour, quiet times, how long a machine stays (Policy.spec.moves). Pure. */
import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { NO_TARIFFS } from "../estate/tariffs.ts";
import type { Policy } from "../kinds.ts";
import { policiesOf } from "../rules/rules.ts";
import { describeWindow } from "./policy-words.ts";
import { holds } from "./windows.ts";

const HOUR_MS = 3_600_000;

const nameOf = ({ metadata }: Policy) => `policy ${JSON.stringify(metadata.name)}`;

/** How many of the policy's machines were moved within the hour, or are being moved. */
function movedLately(estate: Estate, policy: Policy, now: number): number {
  const index = indexOf(estate);
  return index.membersOf(policy).reduce((sum, i) => {
    const { left = [], movingTo } = index.machines[i] ?? {};
    return sum + left.filter(({ at }) => now - at < HOUR_MS).length + (movingTo === undefined ? 0 : 1);
  }, 0);
}

/** What is left of the limits while a plan is made. */
export class Budget {
  private readonly estate: Estate;
  private readonly now: number;
  private readonly taken = new Map<Policy, number>();
  private readonly quiet = new Map<Policy, string | undefined>();
  /** Most estates have no such limits. */
  readonly limited: boolean;

  /** @param now ms since the epoch */
  constructor(estate: Estate, now: number) {
    this.estate = estate;
    this.now = now;
    this.limited = estate.policies.some(
      ({ spec: { moves } }) => moves?.quiet || moves?.perHour !== undefined,
    );
  }

  /** Why these may not all be moved now, besides those that were taken; undefined: they may. */
  refuses(machines: readonly MachineView[]): string | undefined {
    if (!this.limited) return undefined;
    const more = new Map<Policy, number>();
    for (const machine of machines)
      for (const policy of policiesOf(this.estate, machine)) {
        const { quiet, perHour } = policy.spec.moves ?? {};
        const window = quiet && this.quietNow(policy);
        if (window) return `${nameOf(policy)} lets nothing move now (${window})`;
        if (perHour === undefined) continue;
        more.set(policy, (more.get(policy) ?? 0) + 1);
        if (this.takenOf(policy) + (more.get(policy) ?? 0) > perHour)
          return `${nameOf(policy)} lets ${perHour} of its machines move an hour, ${this.takenOf(policy)} have or will`;
      }
    return undefined;
  }

  take(machine: MachineView): void {
    if (!this.limited) return;
    for (const policy of policiesOf(this.estate, machine))
      if (policy.spec.moves?.perHour !== undefined) this.taken.set(policy, this.takenOf(policy) + 1);
  }

  private takenOf(policy: Policy): number {
    const taken = this.taken.get(policy) ?? movedLately(this.estate, policy, this.now);
    this.taken.set(policy, taken);
    return taken;
  }

  /** The window. */
  private quietNow(policy: Policy): string | undefined {
    if (this.quiet.has(policy)) return this.quiet.get(policy);
    const window = policy.spec.moves?.quiet?.find((one) =>
      holds(one, this.now, this.estate.sites ?? NO_TARIFFS),
    );
    const words = window && describeWindow(window);
    this.quiet.set(policy, words);
    return words;
  }
}

/** How long a machine that these choose stays where it came to. @param stayMs at least */
export function stayOf(policies: readonly Policy[], stayMs: number): number {
  let stay = stayMs;
  for (const { spec } of policies) stay = Math.max(stay, (spec.moves?.minimumStayMinutes ?? 0) * 60_000);
  return stay;
}

/** Why it has to wait until others of a policy have moved; undefined: it need not. */
export function crowd(estate: Estate, machine: MachineView): string | undefined {
  const index = indexOf(estate);
  for (const policy of policiesOf(estate, machine)) {
    const { concurrent } = policy.spec.moves ?? {};
    if (concurrent === undefined) continue;
    const moving = index.membersOf(policy).filter((i) => {
      const other = index.machines[i];
      return other && other.key !== machine.key && other.movingTo !== undefined;
    }).length;
    if (moving >= concurrent)
      return `waits: ${nameOf(policy)} lets ${concurrent === 1 ? "one of its machines" : `${concurrent} of its machines`} move at once`;
  }
  return undefined;
}
