/** Two rules that no host can keep together, whatever the estate; found where they compare one attribute with constants. Pure. */
import type { ASTNode } from "@marcbachmann/cel-js";
import { parseBytes } from "../../resource/quantity.ts";
import { ATTRIBUTES, SIDES } from "./attributes.ts";
import { attributeAt } from "./expression-tree.ts";
import { type Expression, expressionOf } from "./expressions.ts";

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
  const near = numbers.flatMap((each) => [each - 1, Math.floor(each), Math.ceil(each), each + 1]);
  return [...constants, ...near, ...between, "\0"];
}

/** Numbers with a point. */
const DOUBLES = new Set(
  SIDES.flatMap((side) =>
    Object.entries(ATTRIBUTES[side]).flatMap(([path, { type }]) =>
      type === "double" ? `${side}.${path}` : [],
    ),
  ),
);

/** Attributes that are whole numbers have no value between two of them. */
const fits = (attribute: string, value: Constant) =>
  typeof value !== "number" || Number.isInteger(value) || DOUBLES.has(attribute);

/** Found once for each rule, and for each two: a great estate has many policies with few rules. */
const known = new WeakMap<Expression, readonly Condition[]>();
const knownOfTwo = new WeakMap<Expression, WeakMap<Expression, readonly string[]>>();

function conditionsIn(rule: string): readonly Condition[] {
  const expression = expressionOf(rule);
  const before = known.get(expression);
  if (before) return before;
  const conditions = expression.ast ? conditionsOf(expression.ast) : [];
  known.set(expression, conditions);
  return conditions;
}

/** Attributes of which no value keeps both rules. */
function excludedBy(rule: string, other: string): readonly string[] {
  const [one, two] = [expressionOf(rule), expressionOf(other)];
  const ofOne = knownOfTwo.get(one) ?? new WeakMap<Expression, readonly string[]>();
  knownOfTwo.set(one, ofOne);
  const attributes = ofOne.get(two) ?? attributesThatExclude(conditionsIn(rule), conditionsIn(other));
  ofOne.set(two, attributes);
  return attributes;
}

const attributesThatExclude = (first: readonly Condition[], second: readonly Condition[]): string[] =>
  first.flatMap((a) =>
    second
      .filter(
        (b) =>
          a.attribute === b.attribute &&
          !candidates([...a.constants, ...b.constants]).some(
            (value) => fits(a.attribute, value) && a.holds(value) && b.holds(value),
          ),
      )
      .map(({ attribute }) => attribute),
  );

/** Pairs of rules (a pair may be one rule twice) of which one excludes the other. */
export const contradictions = (rules: readonly string[]): [first: number, second: number][] =>
  rules.flatMap((first, i) =>
    rules.flatMap((second, j): [number, number][] =>
      j >= i && excludedBy(first, second).length > 0 ? [[i, j]] : [],
    ),
  );

export interface Excluded {
  /** Their numbers. */
  first: number;
  second: number;
  /** Attributes of which no value keeps both. */
  attributes: readonly string[];
}

/** Pairs of a rule of some and one of others of which one excludes the other. */
export const contradictionsBetween = (some: readonly string[], others: readonly string[]): Excluded[] =>
  some.flatMap((rule, first) =>
    others.flatMap((other, second) => {
      const attributes = excludedBy(rule, other);
      return attributes.length > 0 ? [{ first, second, attributes }] : [];
    }),
  );

/** The policies ("namespace/name") to one of which a host has to be dedicated for the rule to hold; undefined: it need not be. */
export function dedicationIn(rule: string): string[] | undefined {
  const wants = conditionsIn(rule).filter(
    ({ attribute, holds }) => attribute === "host.dedicatedTo" && !holds("") && !holds("\0"),
  );
  const [first] = wants;
  return first?.constants.filter(
    (constant): constant is string =>
      typeof constant === "string" && wants.every(({ holds }) => holds(constant)),
  );
}
