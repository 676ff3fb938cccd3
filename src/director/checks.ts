/** Rules of this room's kinds that a schema cannot say. Pure: they see the object, the old one and a look-up of others. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import type { Plan, Policy } from "./kinds.ts";

export function checkPlan(_object: Plan, _old: Plan | undefined, _lookup: Lookup): Cause[] {
  return [];
}

export function checkPolicy(_object: Policy, _old: Policy | undefined, _lookup: Lookup): Cause[] {
  return [];
}
