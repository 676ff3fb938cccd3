/** Two rules that no host can keep together, whatever the estate; found where they compare one attribute with constants. Pure. */
import type { ASTNode } from "@marcbachmann/cel-js";
import { parseBytes } from "../../resource/quantity.ts";
import { attributeAt } from "./expression-tree.ts";
import { expressionOf } from "./expressions.ts";

type Constant = number | string | boolean;

/** What one part of a rule says of one attribute. */
interface Condition {
  attribute: string;
  constants: readonly Constant[];
  holds: (value: Constant) => boolean;
}

type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";
const COMPARE: Record<Comparison, (a: Constant, b: Constant) => boolean> = {
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};
const TURNED: Record<Comparison, Comparison> = {
  "==": "==",
  "!=": "!=",
  "<": ">",
  "<=": ">=",
  ">": "<",
  ">=": "<=",
};
const isComparison = (op: string): op is Comparison => Object.hasOwn(COMPARE, op);

function constantOf(node: ASTNode): Constant | undefined {
  if (node.op === "-_") {
    const value = constantOf(node.args);
    return typeof value === "number" ? -value : undefined;
  }
  if (node.op === "call" && node.args[0] === "quantity") {
    const size = node.args[1][0] && constantOf(node.args[1][0]);
    return typeof size === "string" ? parseBytes(size) : undefined;
  }
  if (node.op !== "value") return undefined;
  const { args } = node;
  if (typeof args === "bigint") return Number(args);
  return typeof args === "number" || typeof args === "string" || typeof args === "boolean" ? args : undefined;
}

/** All of these must hold for the rule to; parts that are not understood are left out. */
function conditionsOf(node: ASTNode, not = false): Condition[] {
  const condition = (
    attribute: string,
    constants: readonly Constant[],
    holds: (value: Constant) => boolean,
  ): Condition[] => [{ attribute, constants, holds: (value) => holds(value) !== not }];
  if (node.op === "!_") return conditionsOf(node.args, !not);
  if (node.op === (not ? "||" : "&&") && (node.op === "&&" || node.op === "||"))
    return node.args.flatMap((part) => conditionsOf(part, not));
  const attribute = attributeAt(node);
  if (attribute !== undefined) return condition(attribute, [true, false], (value) => value === true);
  if (node.op === "in") {
    const [left, right] = node.args;
    const of = attributeAt(left);
    const constants = right.op === "list" ? right.args.map(constantOf) : [undefined];
    const all = constants.filter((each) => each !== undefined);
    return of === undefined || all.length < constants.length
      ? []
      : condition(of, all, (value) => all.includes(value));
  }
  if (!isComparison(node.op)) return [];
  const [left, right] = node.args as [ASTNode, ASTNode];
  for (const [one, other, op] of [
    [left, right, node.op],
    [right, left, TURNED[node.op]],
  ] as const) {
    const [of, constant] = [attributeAt(one), constantOf(other)];
    // What lies between two words is not easily said.
    const known = typeof constant === "number" || op === "==" || op === "!=";
    if (of !== undefined && constant !== undefined && known)
      return condition(of, [constant], (value) => COMPARE[op](value, constant));
  }
  return [];
}

/** Between two constants that follow one another all values are alike. */
function candidates(constants: readonly Constant[]): Constant[] {
  const numbers = constants.filter((each) => typeof each === "number").sort((a, b) => a - b);
  const between = numbers.map((each, i) => (each + (numbers[i + 1] ?? each + 2)) / 2);
  return [...constants, ...numbers.flatMap((each) => [each - 1, each + 1]), ...between, "\0"];
}

/** Attributes that are whole numbers have no value between two of them. */
const fits = (attribute: string, value: Constant) =>
  typeof value !== "number" || Number.isInteger(value) || /\.power\./.test(attribute);

/** Pairs of rules (a pair may be one rule twice) of which one excludes the other. */
export function contradictions(rules: readonly string[]): [first: number, second: number][] {
  const conditions = rules.map((rule) => {
    const { ast } = expressionOf(rule);
    return ast ? conditionsOf(ast) : [];
  });
  const pairs: [number, number][] = [];
  for (const [i, first] of conditions.entries())
    for (const [j, second] of conditions.entries()) {
      if (j < i) continue;
      const excluded = first.some((a) =>
        second.some(
          (b) =>
            a.attribute === b.attribute &&
            !candidates([...a.constants, ...b.constants]).some(
              (value) => fits(a.attribute, value) && a.holds(value) && b.holds(value),
            ),
        ),
      );
      if (excluded) pairs.push([i, j]);
    }
  return pairs;
}
