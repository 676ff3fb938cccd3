/**
 * Which values of each attribute keep a rule, as far as that compares attributes with constants: for numbers and texts what lies between two of them, and the values that alone are taken, or are
 * not; and whether it has to be known at all. Of two parts of which neither is a constant, which may be the greater one. What is not understood is true or false as a whole, by its text. Conditions of a rule, and rules of a policy, are merged, so that two are compared once for each attribute that both speak of, however often they do. Pure.
 */
import type { ASTNode } from "@marcbachmann/cel-js";
import { parseBytes } from "../../resource/quantity.ts";
import { ATTRIBUTES, SIDES } from "./attributes.ts";
import { attributeAt, memberAt, shapeOf } from "./expression-tree.ts";
import { isPart, Texts } from "./texts.ts";

type Constant = number | string | boolean;

/** How much may be looked at yet: about a step for each value. It is counted down, and who counts looks whether anything is left. */
export interface Work {
  left: number;
}

/** By attribute. */
export type Ranges = ReadonlyMap<string, Range>;

type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";
/** The other way round: 3 < x is x > 3. */
const TURNED: Record<Comparison, Comparison> = {
  "==": "==",
  "!=": "!=",
  "<": ">",
  "<=": ">=",
  ">": "<",
  ">=": "<=",
};
/** With ! before it. */
const NEGATED: Record<Comparison, Comparison> = {
  "==": "!=",
  "!=": "==",
  "<": ">=",
  "<=": ">",
  ">": "<=",
  ">=": "<",
};
/** How two parts may stand to each other, by what is said of them. */
const STAND: Record<Comparison, readonly string[]> = {
  "==": ["="],
  "!=": ["<", ">"],
  "<": ["<"],
  "<=": ["<", "="],
  ">": [">"],
  ">=": [">", "="],
};
const isComparison = (op: string): op is Comparison => Object.hasOwn(TURNED, op);

/** Numbers with a point. Others have no value between two that follow one another. */
const DOUBLES = new Set(
  SIDES.flatMap((side) =>
    Object.entries(ATTRIBUTES[side]).flatMap(([path, { type }]) =>
      type === "double" ? `${side}.${path}` : [],
    ),
  ),
);

/** Values of one attribute. */
export class Range {
  /** Undefined: any that is not in `not`. */
  only: ReadonlySet<Constant> | undefined;
  readonly not = new Set<Constant>();
  /** Of texts, besides. */
  texts: Texts | undefined;
  low = Number.NEGATIVE_INFINITY;
  high = Number.POSITIVE_INFINITY;
  /** The bounds themselves are not taken. */
  isLowOpen = false;
  isHighOpen = false;
  /** Of what a host, or labels, need not have: that it has none, or that it has one. */
  isAbsent = false;
  isPresent = false;
  /** Its numbers have no point. */
  readonly isWhole: boolean;

  constructor(attribute: string) {
    this.isWhole = !DOUBLES.has(attribute);
  }

  takes(value: Constant): boolean {
    if (this.not.has(value) || (this.only && !this.only.has(value))) return false;
    if (typeof value === "string" && this.texts && !this.texts.takes(value)) return false;
    if (typeof value !== "number")
      return this.low === Number.NEGATIVE_INFINITY && this.high === Number.POSITIVE_INFINITY;
    if (this.isWhole && !Number.isInteger(value)) return false;
    return (
      (this.isLowOpen ? value > this.low : value >= this.low) &&
      (this.isHighOpen ? value < this.high : value <= this.high)
    );
  }

  /** Of these alone. */
  keep(values: ReadonlySet<Constant>): void {
    const { only } = this;
    this.only = only ? new Set([...only].filter((value) => values.has(value))) : values;
  }

  leave(values: Iterable<Constant>): void {
    for (const value of values) this.not.add(value);
  }

  ofTexts(): Texts {
    this.texts ??= new Texts();
    return this.texts;
  }

  raise(low: number, isOpen: boolean): void {
    if (low < this.low || (low === this.low && !isOpen)) return;
    this.low = low;
    this.isLowOpen = isOpen;
  }

  lower(high: number, isOpen: boolean): void {
    if (high > this.high || (high === this.high && !isOpen)) return;
    this.high = high;
    this.isHighOpen = isOpen;
  }

  compare(op: "<" | "<=" | ">" | ">=", to: number): void {
    if (this.isWhole) {
      if (op === ">") this.raise(Math.floor(to) + 1, false);
      else if (op === ">=") this.raise(Math.ceil(to), false);
      else if (op === "<") this.lower(Math.ceil(to) - 1, false);
      else this.lower(Math.floor(to), false);
    } else if (op === ">" || op === ">=") this.raise(to, op === ">");
    else this.lower(to, op === "<");
  }

  /** What the other one does not take is not taken. */
  narrow(other: Range): void {
    this.isAbsent ||= other.isAbsent;
    this.isPresent ||= other.isPresent;
    if (other.only) this.keep(other.only);
    this.leave(other.not);
    if (other.texts) this.ofTexts().narrow(other.texts);
    this.raise(other.low, other.isLowOpen);
    this.lower(other.high, other.isHighOpen);
  }
}

/** Whether there is a value that both take. */
export function meet(a: Range, b: Range, work: Work): boolean {
  work.left--;
  if (a.isAbsent || b.isAbsent) return !a.isPresent && !b.isPresent;
  const texts = (a.texts?.size ?? 0) + (b.texts?.size ?? 0);
  const few = a.only && b.only ? (a.only.size < b.only.size ? a.only : b.only) : (a.only ?? b.only);
  if (few) {
    for (const value of few) {
      work.left -= 1 + texts;
      if (a.takes(value) && b.takes(value)) return true;
    }
    return false;
  }
  if (texts > 0) {
    work.left -= texts;
    const both = new Texts();
    for (const { texts: own } of [a, b]) if (own) both.narrow(own);
    if (both.isNone()) return false;
    const { only } = both;
    return only === undefined || (a.takes(only) && b.takes(only));
  }
  const [low, high] = [Math.max(a.low, b.low), Math.min(a.high, b.high)];
  if (low >= high) return low === high && a.takes(low) && b.takes(low);
  // Of words, and of numbers with a point, there is always one more.
  if (!a.isWhole || high - low >= a.not.size + b.not.size) return true;
  // Larger ones have no next one.
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high)) return true;
  for (let value = low; value <= high; value++) {
    work.left--;
    if (a.takes(value) && b.takes(value)) return true;
  }
  return false;
}

/** What a rule says. */
export interface Reading {
  /** All of these must hold for it to. */
  ranges: Ranges;
  /** And of each of these one at least. */
  choices: readonly (readonly Ranges[])[];
}

export function readingOf(ast: ASTNode): Reading {
  const reading = { ranges: new Map<string, Range>(), choices: [] };
  read(ast, false, reading);
  return reading;
}

/** How much there is to merge. */
export const sizeOf = (ranges: Ranges): number =>
  [...ranges.values()].reduce(
    (sum, { only, not, texts }) => sum + 1 + (only?.size ?? 0) + not.size + (texts?.size ?? 0),
    0,
  );

/** The one value that is taken; undefined: there may be several. */
export function onlyValue(range: Range | undefined): Constant | undefined {
  const [value, ...more] = [...(range?.only ?? [])].filter((each) => range?.takes(each));
  return more.length === 0 ? value : undefined;
}

/** Of what holds together. */
export function merged(all: readonly Ranges[]): Ranges {
  const [first] = all;
  if (first && all.length === 1) return first;
  const ranges = new Map<string, Range>();
  for (const each of all) for (const [attribute, range] of each) rangeOf(ranges, attribute).narrow(range);
  return ranges;
}

function rangeOf(ranges: Map<string, Range>, attribute: string): Range {
  const known = ranges.get(attribute);
  if (known) return known;
  const made = new Range(attribute);
  ranges.set(attribute, made);
  return made;
}

interface Into {
  ranges: Map<string, Range>;
  choices: Ranges[][];
}

/** A rule that needs what is not known is not kept, with ! before it neither. */
function known(ranges: Map<string, Range>, attribute: string): Range {
  const range = rangeOf(ranges, attribute);
  range.isPresent = true;
  return range;
}

function read(node: ASTNode, not: boolean, into: Into): void {
  if (node.op === "!_") {
    read(node.args, !not, into);
    return;
  }
  if (node.op === "&&" || node.op === "||") {
    if (node.op === (not ? "||" : "&&")) for (const part of node.args) read(part, not, into);
    else into.choices.push(branchesOf(node, node.op).map((branch) => alone(branch, not)));
    return;
  }
  const { ranges } = into;
  const attribute = attributeAt(node);
  const member = memberAt(node);
  if (attribute !== undefined) known(ranges, attribute).keep(new Set([!not]));
  else if (member?.isPresence) rangeOf(ranges, member.path)[not ? "isAbsent" : "isPresent"] = true;
  else if (member) rangeOf(ranges, member.path).keep(new Set([!not]));
  else if (node.op === "value" && typeof node.args === "boolean")
    rangeOf(ranges, "false").keep(new Set(node.args === not ? [] : [false]));
  else if (
    !(node.op === "in" && readList(node.args, not, ranges)) &&
    !(node.op === "rcall" && readText(node, not, ranges)) &&
    !(isComparison(node.op) && readComparison(node.op, node.args as [ASTNode, ASTNode], not, ranges))
  )
    rangeOf(ranges, `(${shapeOf(node)})`).keep(new Set([!not]));
}

const branchesOf = (node: ASTNode, op: "&&" | "||"): ASTNode[] =>
  node.op === op ? node.args.flatMap((each) => branchesOf(each, op)) : [node];

/** What is a choice within one is left out. */
function alone(node: ASTNode, not: boolean): Ranges {
  const into: Into = { ranges: new Map(), choices: [] };
  read(node, not, into);
  return into.ranges;
}

/** Each of these says whether it is understood. How an attribute begins, ends, or what it contains. */
function readText(node: ASTNode, not: boolean, into: Map<string, Range>): boolean {
  if (node.op !== "rcall") return false;
  const [name, receiver, [asked, ...more]] = node.args;
  const of = attributeAt(receiver);
  const text = asked && constantOf(asked);
  if (!isPart(name) || of === undefined || typeof text !== "string" || more.length > 0) return false;
  known(into, of).ofTexts().ask(name, text, not);
  return true;
}

function readComparison(
  said: Comparison,
  [left, right]: readonly [ASTNode, ASTNode],
  not: boolean,
  into: Map<string, Range>,
): boolean {
  const values = [constantOf(left), constantOf(right)];
  if (values.every((value) => value !== undefined)) {
    rangeOf(into, "false").keep(new Set(isSo(said, values) === not ? [] : [false]));
    return true;
  }
  for (const [one, other, op] of [
    [left, right, said],
    [right, left, TURNED[said]],
  ] as const) {
    const [of, constant] = [attributeAt(one), constantOf(other)];
    if (of === undefined || constant === undefined) continue;
    const is = not ? NEGATED[op] : op;
    const range = known(into, of);
    if (is === "==") range.keep(new Set([constant]));
    else if (is === "!=") leave(range, [constant]);
    else if (typeof constant === "number") range.compare(is, constant);
    else if (typeof constant === "string") range.ofTexts().compare(is, constant);
    else return false;
    return true;
  }
  const [one, other] = [shapeOf(left), shapeOf(right)];
  const op = one < other ? said : TURNED[said];
  const key = one < other ? `${one} <> ${other}` : `${other} <> ${one}`;
  rangeOf(into, `(${key})`).keep(new Set(STAND[not ? NEGATED[op] : op]));
  return true;
}

/** Of two constants of one type. */
function isSo(said: Comparison, [left, right]: readonly (Constant | undefined)[]): boolean {
  const order = left === right ? "=" : (left ?? 0) < (right ?? 0) ? "<" : ">";
  return STAND[said].includes(order);
}

function readList(
  [left, right]: readonly [ASTNode, ASTNode],
  not: boolean,
  into: Map<string, Range>,
): boolean {
  const of = attributeAt(left);
  if (of === undefined || right.op !== "list") return false;
  const constants = right.args.flatMap((each) => constantOf(each) ?? []);
  if (constants.length < right.args.length) return false;
  if (not) leave(known(into, of), constants);
  else known(into, of).keep(new Set(constants));
  return true;
}

/** Of what is true or false the other one remains. */
function leave(range: Range, values: readonly Constant[]): void {
  if (typeof values[0] === "boolean")
    range.keep(new Set([true, false].filter((each) => !values.includes(each))));
  else range.leave(values);
}

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
  // One that is not kept to the digit is as good as none.
  if (typeof args === "bigint") return Number.isSafeInteger(Number(args)) ? Number(args) : undefined;
  return typeof args === "number" || typeof args === "string" || typeof args === "boolean" ? args : undefined;
}
