/**
 * Rules of policies that one write can be held against: not what reads what changes by itself (attributes.ts). The server's last word is there so that two who
 * decide at the same moment break no rule together, and it has neither the director's hour nor its history: of such rules the director alone judges. Of one
 * that holds when all of its parts do (&&), the other parts stand. Pure.
 */
import type { Policy } from "../kinds.ts";
import { expressionOf, isOfTheMoment } from "./expressions.ts";

const known = new WeakMap<Policy, Policy>();

/** The policy without the others; the same for the same. */
export function standing(policy: Policy): Policy {
  const before = known.get(policy);
  if (before) return before;
  const { required } = policy.spec;
  const made = required?.some(isOfTheMoment)
    ? { ...policy, spec: { ...policy.spec, required: required.flatMap(standingOf) } }
    : policy;
  known.set(policy, made);
  return made;
}

const standingOf = (rule: string): string[] =>
  isOfTheMoment(rule) ? partsOf(rule).filter((part) => !isOfTheMoment(part)) : [rule];

const isRule = (text: string): boolean => expressionOf(text).ast !== undefined;
const COMMENT = /\/\/.*/g;

/** All of them hold when the rule does, and the other way round; the rule itself where it cannot be parted. */
function partsOf(rule: string): string[] {
  const { ast } = expressionOf(rule);
  if (ast?.op !== "&&") return [rule];
  const [left, right] = ast.args;
  // Places in the tree are without the brackets around an operand: where to cut tells the operator alone.
  const between = rule.slice(left.end, right.start).replace(COMMENT, (text) => " ".repeat(text.length));
  const at = left.end + between.indexOf("&&");
  const parts = [rule.slice(0, at), rule.slice(at + "&&".length)];
  if (parts.every(isRule)) return parts.flatMap(partsOf);
  // It stands in brackets as a whole.
  const inner = rule.trim().replace(/^\((.*)\)$/s, "$1");
  return inner.length < rule.trim().length && isRule(inner) ? partsOf(inner) : [rule];
}
