/** Limits of moves that the director makes by itself: how many an hour, quiet times, how long a machine stays (Policy.spec.moves). Pure. */

import { DAYS } from "../../resource/window.ts";
import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { localTime } from "../estate/local-time.ts";
import { describeWindow } from "../estate/policy-words.ts";
import { NO_TARIFFS } from "../estate/tariffs.ts";
import { endOfAll, holds } from "../estate/windows.ts";
import type { Policy } from "../kinds.ts";
import { nameOf, policiesOf } from "../rules/rules.ts";
import type { Plan } from "./kinds.ts";

const HOUR_MS = 3_600_000;

/** What keeps a machine from being moved by itself; the most cautious first. */
const HELD_BACK = ["off", "advise", "ask"] as const;

/** What may be moved by itself is up to the most cautious of the machine's policies. @returns that and, unless it may, the first policy that says so */
export function automationOf(policies: readonly Policy[]): {
  automation: Policy["spec"]["automation"];
  policy?: Policy;
} {
  for (const automation of HELD_BACK) {
    const policy = policies.find(({ spec }) => spec.automation === automation);
    if (policy) return { automation, policy };
  }
  return { automation: "act" };
}

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
  /** Of machines that the same choose, with what was taken so far. */
  private readonly spent = new Map<readonly Policy[], boolean>();
  /** Most estates have no such limits. */
  readonly limited: boolean;

  private readonly keepsQuiet: boolean;

  /** @param now ms since the epoch @param automation what is only proposed is so in quiet times, too: once it is approved, quietFor says when it begins */
  constructor(estate: Estate, now: number, automation: Plan["spec"]["automation"] = "act") {
    this.estate = estate;
    this.now = now;
    this.keepsQuiet = automation === "act";
    this.limited = estate.policies.some(
      ({ spec: { moves } }) => (this.keepsQuiet && moves?.quiet) || moves?.perHour !== undefined,
    );
  }

  /** Why these may not all be moved now, besides those that were taken; undefined: they may. */
  refuses(machines: readonly MachineView[]): string | undefined {
    if (!this.limited) return undefined;
    const more = new Map<Policy, number>();
    for (const machine of machines)
      for (const policy of policiesOf(this.estate, machine)) {
        const { quiet, perHour } = policy.spec.moves ?? {};
        const window = quiet && this.keepsQuiet && this.quietNow(policy);
        if (window) return `${nameOf(policy)} lets nothing move now (${window})`;
        if (perHour === undefined) continue;
        more.set(policy, (more.get(policy) ?? 0) + 1);
        if (this.takenOf(policy) + (more.get(policy) ?? 0) > perHour)
          return `${nameOf(policy)} lets ${perHour} of its machines move an hour, ${this.takenOf(policy)} have or will`;
      }
    return undefined;
  }

  /** Whether these let no machine move now that all of them choose. @param policies the same list for machines that the same choose (chosen.ts) */
  isSpent(policies: readonly Policy[]): boolean {
    const known = this.spent.get(policies);
    if (known !== undefined) return known;
    const spent = policies.some((policy) => {
      const { quiet, perHour } = policy.spec.moves ?? {};
      return (
        (quiet && this.keepsQuiet && this.quietNow(policy) !== undefined) ||
        (perHour !== undefined && this.takenOf(policy) + 1 > perHour)
      );
    });
    this.spent.set(policies, spent);
    return spent;
  }

  take(machine: MachineView): void {
    if (!this.limited) return;
    this.spent.clear();
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

/** What an approved move of the machine waits for: that no policy of it has a quiet time any more; undefined: none has. */
export function quietFor(estate: Estate, machine: MachineView): string | undefined {
  const { now, sites = NO_TARIFFS } = estate;
  if (now === undefined) return undefined;
  const waits = policiesOf(estate, machine).flatMap((policy) => {
    const { quiet = [] } = policy.spec.moves ?? {};
    const window = quiet.find((one) => holds(one, now, sites));
    if (!window) return [];
    const end = endOfAll(quiet, now, sites);
    const when = end ? `at ${clock(end.at, end.last.timeZone ?? "UTC", now)}` : `(${describeWindow(window)})`;
    return { at: end?.at ?? Number.POSITIVE_INFINITY, why: `${nameOf(policy)} ${when}` };
  });
  const [first, ...others] = waits;
  if (!first) return undefined;
  const longest = others.reduce((most, each) => (each.at > most.at ? each : most), first);
  return `waits for the end of quiet hours of ${longest.why}`;
}

/** "06:00 UTC", or with the day when it is that far. */
function clock(at: number, timeZone: string, now: number): string {
  const { day = 0, minutes = 0 } = localTime(timeZone, at) ?? {};
  const two = (value: number) => String(value).padStart(2, "0");
  const time = `${two(Math.floor(minutes / 60))}:${two(minutes % 60)} ${timeZone}`;
  return at - now < 24 * HOUR_MS ? time : `${DAYS[day]} ${time}`;
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
