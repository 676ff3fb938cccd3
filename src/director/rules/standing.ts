/**
 * Rules of policies that one write can be held against: not those that read what changes by itself (attributes.ts). The server's last word is there so that two who
 * decide at the same moment break no rule together, and it has neither the director's hour nor its history: of such rules the director alone judges. Pure.
 */
import type { Policy } from "../kinds.ts";
import { isOfTheMoment } from "./expressions.ts";

const known = new WeakMap<Policy, Policy>();

/** The policy without the others; the same for the same. */
export function standing(policy: Policy): Policy {
  const before = known.get(policy);
  if (before) return before;
  const { required } = policy.spec;
  const made = required?.some(isOfTheMoment)
    ? { ...policy, spec: { ...policy.spec, required: required.filter((rule) => !isOfTheMoment(rule)) } }
    : policy;
  known.set(policy, made);
  return made;
}
