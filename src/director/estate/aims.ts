/** What policies aim at at one moment. Pure. */
import type { Policy } from "../kinds.ts";
import { type Aim, aimOf } from "./goals.ts";
import type { Tariffs } from "./tariffs.ts";

export class Aims {
  private readonly moment: { now?: number; sites: Tariffs };
  private readonly known = new Map<Policy | undefined, Aim>();
  private readonly byGoals = new Map<string, Aim>();

  constructor(moment: { now?: number; sites: Tariffs }) {
    this.moment = moment;
  }

  /** What the policy aims at now; of none: what a machine without policy does. */
  of(policy: Policy | undefined): Aim {
    const known = this.known.get(policy);
    if (known) return known;
    // Many have the same goals.
    const goals = JSON.stringify(policy?.spec.goals ?? []);
    const aim = this.byGoals.get(goals) ?? aimOf(policy, this.moment);
    this.byGoals.set(goals, aim);
    this.known.set(policy, aim);
    return aim;
  }
}
