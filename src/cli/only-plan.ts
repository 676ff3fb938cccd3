/** The plan that is meant where none is named. */
import type { Plan } from "../director/planning/kinds.ts";
import { UserError } from "./user-error.ts";

/** @param plans those that may be meant @param are what they do, as "ask" @returns its name @throws UserError when there is none (`none` says so), or several are */
export function onlyPlan(plans: readonly Plan[], are: string, none: string): string {
  const [first, second] = plans;
  if (!first) throw new UserError(none);
  if (second)
    throw new UserError(
      `several plans ${are}: ${plans.map(({ metadata }) => metadata.name).join(", ")}; name one`,
    );
  return first.metadata.name;
}
