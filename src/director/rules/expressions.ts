/**
 * Rules of policies: expressions in CEL (see resource/rules.ts for the library) over `host` and `machine`, checked when they are written: what is wrong
 * is told with its place in the text.
 *
 * What a host does not tell is absent, as in Kubernetes: to read it is an error, `has()` asks whether it is there, and && and || decide without it where the
 * other side suffices. A rule that comes to no decision is not kept, with ! before it neither.
 *
 * An evaluation takes a microsecond, an estate has a million pairs: an expression sees no more than what its attributes have (`see`), and each
 * combination of that is decided once. Its size is bounded, loops do not nest, and regular expressions (which can take for ever) are refused. Pure.
 */
import {
  type ASTNode,
  TypeError as CelTypeError,
  Environment,
  EvaluationError,
  ParseError,
} from "@marcbachmann/cel-js";
import { parseBytes } from "../../resource/quantity.ts";
import type { HostView } from "../estate/estate.ts";
import {
  ATTRIBUTES,
  type AttributeValue,
  attributeList,
  describePath,
  isMomentary,
  membersIn,
  type Path,
  readHost,
  readMachine,
  SIDES,
  type Side,
  type Subject,
} from "./attributes.ts";
import { ExpressionError, fail, groupIn, groupWords, pathsOf, reason, stepsOf } from "./expression-tree.ts";
import { Kept } from "./kept.ts";
import { syntaxProblem } from "./syntax-hints.ts";

/** Of rules that are written now. Stored ones of older versions may be longer, and are kept all the same. */
export const MOST_CHARACTERS = 1000;
const LIMITS = {
  maxAstNodes: 200,
  maxDepth: 30,
  maxListElements: 100,
  maxMapEntries: 50,
  maxCallArguments: 8,
};

const STORED_LIMITS = {
  ...LIMITS,
  maxAstNodes: Number.MAX_SAFE_INTEGER,
  maxListElements: Number.MAX_SAFE_INTEGER,
};

type Schema = { [name: string]: string | Schema };

function schemaOf(side: Side): Schema {
  const schema: Schema = {};
  for (const [path, { type }] of Object.entries(ATTRIBUTES[side])) {
    const [first = "", second] = path.split(".");
    if (second === undefined) schema[first] = type;
    else schema[first] = { ...(schema[first] as Schema | undefined), [second]: type };
  }
  return schema;
}

const environmentOf = (limits: typeof LIMITS) =>
  new Environment({ unlistedVariablesAreDyn: false, limits })
    .registerVariable({ name: "host", schema: schemaOf("host") })
    .registerVariable({ name: "machine", schema: schemaOf("machine") })
    .registerFunction("quantity(string): int", (text: string) => BigInt(parseBytes(text)));
const WRITTEN = environmentOf(LIMITS);
const STORED = environmentOf(STORED_LIMITS);

/** Kept or not, or why that cannot be told. */
export type Outcome = boolean | { unknown: string };

/** All that an expression sees of a host, or of a machine. */
export interface Seen {
  /** The same for those that it cannot tell apart. */
  text: string;
  /** What it is evaluated on; made when that is asked for first. */
  context: () => Context;
}

type Context = Record<string, unknown>;

export interface Expression {
  text: string;
  ast: ASTNode | undefined;
  /** What an evaluation takes (expression-tree.ts). */
  steps: number;
  /** What it speaks of. */
  paths: Readonly<Record<Side, readonly Path[]>>;
  see: { host: (host: HostView) => Seen; machine: (machine: Subject) => Seen };
  decide: (host: HostView, machine: Subject) => Outcome;
  /** The same where it is asked of many that were seen before. */
  decideSeen: (host: Seen, machine: Seen) => Outcome;
}

/** @throws ExpressionError */
function compile(text: string, environment = STORED): Expression {
  try {
    const program = environment.parse(text);
    const { valid, error, type } = program.check();
    if (!valid && error) throw error;
    const group = groupIn(type ?? "");
    if (group) fail(text, 0, groupWords(group));
    if (type !== "bool") fail(text, 0, `a rule is true or false, this is ${type}`);
    return expression(text, program.ast, pathsOf(program.ast), program);
  } catch (error) {
    if (error instanceof ExpressionError || !(error instanceof Error)) throw error;
    if (error instanceof ParseError) return fail(text, ...syntaxProblem(text, ...reason(error)));
    if (error instanceof CelTypeError) return fail(text, ...reason(error));
    return fail(text, 0, error.message.split("\n")[0] ?? "");
  }
}

/** Of rules that are stored: whoever may write policies decides how many there ever were. */
const KEPT = new Kept<Expression>();

function expression(
  text: string,
  ast: ASTNode | undefined,
  paths: Record<Side, Path[]>,
  run: (context: Record<Side, unknown>) => unknown,
): Expression {
  const outcomes = new Map<string, Map<string, Outcome>>();
  const see = {
    host: (host: HostView) => seen("host", paths.host, readHost(host, paths.host)),
    machine: (machine: Subject) =>
      paths.machine.length === 0
        ? NOTHING
        : seen("machine", paths.machine, readMachine(machine, paths.machine)),
  };
  const self: Expression = {
    text: plain(text),
    ast,
    steps: ast ? stepsOf(ast) : 0,
    paths,
    see,
    decide: (host, machine) => self.decideSeen(see.host(host), see.machine(machine)),
    decideSeen(here, it) {
      let own = outcomes.get(here.text);
      if (!own) {
        own = new Map();
        outcomes.set(here.text, own);
      }
      const before = own.get(it.text);
      if (before !== undefined) return before;
      const outcome = evaluate(run, { host: here.context(), machine: it.context() });
      own.set(it.text, outcome);
      KEPT.grown(text, self);
      return outcome;
    },
  };
  return self;
}

type Values = readonly (AttributeValue | undefined)[];

function seen(side: Side, paths: readonly Path[], values: Values): Seen {
  let made: Context | undefined;
  return {
    text: JSON.stringify(values),
    context: () => {
      made ??= contextOf(side, paths, values);
      return made;
    },
  };
}

/** Of what it speaks nothing of. */
const NOTHING: Seen = { text: "", context: () => contextOf("machine", [], []) };

/** Nothing but what it speaks of: it cannot depend on what it does not see. */
function contextOf(side: Side, paths: readonly Path[], values: Values): Context {
  const context: Context = {};
  const group = (name: string) => {
    const own = (context[name] ?? {}) as Context; // made here, below
    context[name] = own;
    return own;
  };
  for (const path of Object.keys(ATTRIBUTES[side])) {
    const [first = "", second] = path.split(".");
    if (second !== undefined || path === "labels") group(first);
  }
  const put = (attribute: string, value: unknown) => {
    const [first = "", second] = attribute.split(".");
    if (second === undefined) context[first] = value;
    else group(first)[second] = value;
  };
  for (const [i, { attribute, key }] of paths.entries()) {
    const value = values[i];
    if (value === undefined) continue;
    const members = membersIn(side, attribute);
    if (key !== undefined) {
      // Of lists see below.
      if (members === "map") group(attribute)[key] = value;
      continue;
    }
    const isInt = ATTRIBUTES[side][attribute]?.type === "int";
    if (members === "map") Object.assign(group(attribute), value);
    else put(attribute, typeof value === "number" && isInt ? BigInt(Math.trunc(value)) : value);
  }
  for (const [attribute, list] of askedOf(side, paths, values)) put(attribute, list);
  return context;
}

/** Of lists of which nothing but some members is asked for: those that it has of them. Without lists that are not known. */
function askedOf(side: Side, paths: readonly Path[], values: Values): Map<string, string[]> {
  const lists = new Map<string, string[]>();
  for (const [i, { attribute, key }] of paths.entries()) {
    if (key === undefined || membersIn(side, attribute) !== "list" || values[i] === undefined) continue;
    if (paths.some((path) => path.attribute === attribute && path.key === undefined)) continue;
    lists.set(attribute, [...(lists.get(attribute) ?? []), ...(values[i] === true ? [key] : [])]);
  }
  return lists;
}

function evaluate(run: (context: Record<Side, unknown>) => unknown, context: Record<Side, unknown>): Outcome {
  try {
    return run(context) === true;
  } catch (error) {
    // Whatever it is: one rule must not stop the work for all machines.
    if (!(error instanceof EvaluationError)) return { unknown: "it cannot be decided" };
    const { node, code, summary } = error;
    if (code === "no_such_key" && node)
      return { unknown: `${node.input.slice(node.start, node.end)} is not known` };
    return { unknown: `it cannot be decided: ${summary}` };
  }
}

/** In one line. */
export const plain = (text: string): string => text.trim().replace(/\s+/g, " ");

/** One that is not valid (it was stored by another version, say) is never kept, and says why. */
function made(text: string): Expression {
  try {
    return compile(text);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    const unknown = `it is no rule: ${error.message.split("\n")[0]}`;
    return {
      ...expression(text, undefined, { host: [], machine: [] }, () => false),
      decide: () => ({ unknown }),
      decideSeen: () => ({ unknown }),
    };
  }
}

/** Of a rule that is stored; it is kept for the next time. */
export function expressionOf(text: string): Expression {
  const before = KEPT.get(text);
  if (before) return before;
  const expression = made(text);
  KEPT.set(text, expression);
  return expression;
}

/** Whether it need not be read anew. */
export const isAtHand = (text: string): boolean => KEPT.get(text) !== undefined;

/** Of a rule that is only looked at, as one that is written and may be refused: it is not kept. */
export const passing = (text: string): Expression => KEPT.get(text) ?? made(text);

/** What is wrong with it as one that is written now, and where; undefined: nothing. */
export function problemOf(text: string): string | undefined {
  if (text.length > MOST_CHARACTERS)
    return `it has ${text.length} characters, a rule has ${MOST_CHARACTERS} at most; several rules hold together, and labels of hosts (host.labels.tier) stand for many names`;
  try {
    compile(text, WRITTEN);
    return undefined;
  } catch (error) {
    if (error instanceof ExpressionError) return error.message;
    throw error;
  }
}

/** @returns why the rule is not kept there, or undefined when it is */
export function breach(text: string, host: HostView, machine: Subject): string | undefined {
  const rule = expressionOf(text);
  const outcome = rule.decide(host, machine);
  if (outcome === true) return undefined;
  if (outcome !== false) return `requires ${rule.text}, but ${outcome.unknown}`;
  const seen = readingOf(text, host, machine);
  return `requires ${rule.text}${seen.length > 0 ? ` (${seen.join(", ")})` : ""}`;
}

/** What the rule sees there: "host.cpu.mhz is 2000". */
export function readingOf(text: string, host: HostView, machine: Subject): string[] {
  const { paths } = expressionOf(text);
  return [
    ...told("host", paths.host, readHost(host, paths.host)),
    ...told("machine", paths.machine, readMachine(machine, paths.machine)),
  ];
}

function told(side: Side, paths: readonly Path[], values: Values): string[] {
  return paths.map((path, i) => {
    const value = values[i];
    const shown = typeof value === "object" ? JSON.stringify(value) : value;
    return `${describePath(side, path)} is ${shown ?? "not known"}`;
  });
}

/** Whether it reads what changes by itself: prices of the hour, what machines are measured to use. */
export function isOfTheMoment(text: string): boolean {
  const { paths } = expressionOf(text);
  return SIDES.some((side) => paths[side].some((path) => isMomentary(side, path)));
}

export const isKept = (text: string, host: HostView, machine: Subject): boolean =>
  expressionOf(text).decide(host, machine) === true;

/** For `explain policy.spec.required`. */
export const RULE_HELP = `CEL over host and machine: ${SIDES.map(attributeList).join(", ")}; quantity("64Gi") is a size in bytes. What a host does not tell is absent: has(host.power.idleWatts) asks for it, and a rule that cannot be decided is not kept.`;
