/**
 * Rules of policies: expressions in CEL (see resource/rules.ts for the library) over `host` and `machine`, checked when they are written: what is wrong
 * is told with its place in the text.
 *
 * What a host does not tell is absent, as in Kubernetes: to read it is an error, `has()` asks whether it is there, and && and || decide without it where the
 * other side suffices. A rule that comes to no decision is not kept, with ! before it neither.
 *
 * An evaluation takes microseconds, an estate has a million pairs: an expression sees no more than what its attributes have (`project`), and each
 * combination of that is decided once. Its size is bounded, loops do not nest, and regular expressions (which can take for ever) are refused. Pure.
 */
import {
  type ASTNode,
  TypeError as CelTypeError,
  Environment,
  EvaluationError,
  ParseError,
} from "@marcbachmann/cel-js";
import { hint } from "../../resource/nearest.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { HostView } from "../estate/estate.ts";
import {
  ATTRIBUTES,
  type AttributeValue,
  attributeList,
  describePath,
  type Path,
  readHost,
  readMachine,
  SIDES,
  type Side,
  type Subject,
} from "./attributes.ts";

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

/** A rule that is none, with its place in the text. */
export class ExpressionError extends Error {}

/** Kept or not, or why that cannot be told. */
export type Outcome = boolean | { unknown: string };

export interface Expression {
  text: string;
  ast: ASTNode | undefined;
  /** What it speaks of. */
  paths: Readonly<Record<Side, readonly Path[]>>;
  /** All that it sees of a host, or of a machine, as one text. */
  project: { host: (host: HostView) => string; machine: (machine: Subject) => string };
  decide: (host: HostView, machine: Subject) => Outcome;
}

const MACROS = ["all", "exists", "exists_one", "map", "filter"];

const isLoop = (node: ASTNode) => node.op === "rcall" && MACROS.includes(node.args[0]);

/** Every node below, with how many loops it is in. */
function* walk(node: ASTNode, loops = 0): Generator<[node: ASTNode, loops: number]> {
  yield [node, loops];
  const inner = isLoop(node) ? loops + 1 : loops;
  for (const child of childrenOf(node)) yield* walk(child, child === receiver(node) ? loops : inner);
}

const receiver = (node: ASTNode) => (node.op === "rcall" ? node.args[1] : undefined);

function childrenOf(node: ASTNode): ASTNode[] {
  const found: ASTNode[] = [];
  const collect = (part: unknown) => {
    if (Array.isArray(part)) for (const each of part) collect(each);
    else if (isNode(part)) found.push(part);
  };
  collect(node.args);
  return found;
}

const isNode = (part: unknown): part is ASTNode =>
  typeof part === "object" && part !== null && "op" in part && "args" in part;

const SHORT = 100;

/** The line of the text that the place is in, and a mark under it. */
function pointAt(text: string, at: number): { where: string; picture: string } {
  const before = text.slice(0, at).split("\n");
  const line = before.length;
  const column = (before.at(-1) ?? "").length;
  const whole = text.split("\n")[line - 1] ?? "";
  // Long ones from where it is of interest.
  const from = whole.length > SHORT ? Math.max(0, column - SHORT / 2) : 0;
  const where = text.includes("\n") ? `line ${line}, column ${column + 1}` : `column ${column + 1}`;
  return { where, picture: `\n  ${whole.slice(from, from + SHORT)}\n  ${" ".repeat(column - from)}^` };
}

const fail = (text: string, at: number, why: string): never => {
  const { where, picture } = pointAt(text, at);
  throw new ExpressionError(`${where}: ${why}${picture}`);
};

/** "host.cpu" of the node that reads it, "" of another. */
function prefixOf(node: ASTNode | undefined): string {
  if (node?.op === "id") return node.args;
  if (node?.op !== ".") return "";
  const base = prefixOf(node.args[0]);
  return base && `${base}.${node.args[1]}`;
}

const ALL = SIDES.flatMap((side) => Object.keys(ATTRIBUTES[side]).map((path) => `${side}.${path}`));

/** What it knows below "host" or "host.cpu". */
function membersOf(prefix: string): string[] {
  const below = ALL.filter((path) => path.startsWith(`${prefix}.`));
  return [...new Set(below.map((path) => path.slice(prefix.length + 1).split(".")[0] ?? ""))].sort();
}

/** "host.cpu.mhz" of the node that reads that attribute; undefined of any other. */
export function attributeAt(node: ASTNode): string | undefined {
  const keyed = keyOf(node);
  if (keyed)
    return node.op === "in" ? undefined : describePath(keyed.side, { attribute: "labels", key: keyed.key });
  const path = prefixOf(node);
  return ALL.includes(path) ? path : undefined;
}

/** In words for people; the library's own where they are as good. */
function reason(error: ParseError | CelTypeError): [at: number, why: string] {
  const { summary, code, node, range } = error;
  const at = range?.start ?? 0;
  if (code === "no_such_key" && node?.op === "." && Array.isArray(node.args)) {
    const [base, name] = node.args as [ASTNode, string];
    const prefix = prefixOf(base);
    const members = membersOf(prefix);
    // Of another group than was thought.
    const elsewhere = ALL.find((path) => path.endsWith(`.${name}`));
    const near = hint(name, members) || (elsewhere ? `; did you mean ${JSON.stringify(elsewhere)}?` : "");
    return [at, `${prefix} has no ${JSON.stringify(name)}${near} (it has ${members.join(", ")})`];
  }
  if (code === "unknown_variable") {
    const name = summary.replace(/^Unknown variable: /, "");
    const path = ALL.find((each) => each.split(".")[1] === name);
    const near = path ? `; did you mean ${JSON.stringify(path)}?` : hint(name, SIDES);
    return [
      at,
      `there is no ${JSON.stringify(name)}${near} (rules speak of host and machine, texts are in quotes)`,
    ];
  }
  const types = /^no such overload: (.+) (\S+) (\S+)$/.exec(summary);
  if (types && node && "op" in node)
    return [
      placeOf(node as ASTNode),
      `${types[2]} does not go with ${types[1]} and ${types[3]}${types.includes("double") ? "; write the number with a point, 2.0" : ""}`,
    ];
  return [at, summary];
}

/** Of an operator: itself, not its left side. */
function placeOf(node: ASTNode): number {
  const [left] = childrenOf(node);
  const gap = left ? node.input.slice(left.end).search(/\S/) : -1;
  return left && left.start === node.start && gap >= 0 ? left.end + gap : node.start;
}

/** What the parts of the tree speak of. @throws ExpressionError for what rules may not do */
function pathsOf(ast: ASTNode): Record<Side, Path[]> {
  const paths: Record<Side, Map<string, Path>> = { host: new Map(), machine: new Map() };
  const add = (side: Side, path: Path) => paths[side].set(describePath(side, path), path);
  const told = new Set<ASTNode>();
  for (const [node, loops] of walk(ast)) {
    const { input } = node;
    if (loops > 0 && isLoop(node)) fail(input, placeOf(node), "loops cannot stand in one another");
    if (node.op === "rcall" && node.args[0] === "matches")
      fail(
        input,
        placeOf(node),
        "regular expressions are not for rules; use contains(), startsWith() or endsWith()",
      );
    if (node.op === "call" && node.args[0] === "quantity") checkQuantity(node);
    const keyed = keyOf(node);
    if (keyed) {
      told.add(keyed.map);
      add(keyed.side, { attribute: "labels", key: keyed.key });
      continue;
    }
    const side = SIDES.find((each) => prefixOf(node).startsWith(`${each}.`));
    if (side && !told.has(node)) {
      const attribute = prefixOf(node).slice(side.length + 1);
      if (Object.hasOwn(ATTRIBUTES[side], attribute)) add(side, { attribute });
    }
    if (node.op === "[]" && !keyed && SIDES.some((each) => prefixOf(node.args[0]).split(".")[0] === each))
      if (!prefixOf(node.args[0]).endsWith(".labels") && !prefixOf(node.args[0]).endsWith(".offers"))
        fail(input, node.args[1].start, "attributes are named with a point: host.cpu.mhz");
  }
  return { host: [...paths.host.values()], machine: [...paths.machine.values()] };
}

/** host.labels.x, host.labels["x"] and "x" in host.labels: of the labels only that one is seen. */
function keyOf(node: ASTNode): { side: Side; key: string; map: ASTNode } | undefined {
  const [map, key] =
    node.op === "."
      ? node.args
      : node.op === "[]" && node.args[1].op === "value"
        ? [node.args[0], node.args[1].args]
        : node.op === "in" && node.args[0].op === "value"
          ? [node.args[1], node.args[0].args]
          : [undefined, undefined];
  const side = SIDES.find((each) => prefixOf(map) === `${each}.labels`);
  return side && map && typeof key === "string" ? { side, key, map } : undefined;
}

function checkQuantity(node: ASTNode): void {
  if (node.op !== "call") return;
  const [size] = node.args[1];
  if (size?.op !== "value" || typeof size.args !== "string")
    fail(node.input, node.start, 'quantity() takes a size in quotes: quantity("64Gi")');
  else
    try {
      parseBytes(size.args);
    } catch {
      fail(node.input, size.start, `${JSON.stringify(size.args)} is no size; such as "512Mi" or "64Gi"`);
    }
}

/** @throws ExpressionError */
function compile(text: string, environment = STORED): Expression {
  try {
    const program = environment.parse(text);
    const { valid, error, type } = program.check();
    if (!valid && error) throw error;
    if (type !== "bool") fail(text, 0, `a rule is true or false, this is ${type}`);
    return expression(text, program.ast, pathsOf(program.ast), program);
  } catch (error) {
    if (error instanceof ExpressionError || !(error instanceof Error)) throw error;
    if (error instanceof ParseError || error instanceof CelTypeError) return fail(text, ...reason(error));
    return fail(text, 0, error.message.split("\n")[0] ?? "");
  }
}

/** Outcomes that are kept of all expressions together. */
const MOST_KEPT = 1_000_000;
const kept = { outcomes: 0, of: new Map<string, Expression>() };

function expression(
  text: string,
  ast: ASTNode | undefined,
  paths: Record<Side, Path[]>,
  run: (context: Record<Side, unknown>) => unknown,
): Expression {
  const outcomes = new Map<string, Map<string, Outcome>>();
  const project = {
    host: (host: HostView) => JSON.stringify(readHost(host, paths.host)),
    machine: (machine: Subject) =>
      paths.machine.length === 0 ? "" : JSON.stringify(readMachine(machine, paths.machine)),
  };
  return {
    text: text.trim().replace(/\s+/g, " "),
    ast,
    paths,
    project,
    decide(host, machine) {
      const here = project.host(host);
      const own: Map<string, Outcome> = outcomes.get(here) ?? new Map();
      outcomes.set(here, own);
      const it = project.machine(machine);
      const before = own.get(it);
      if (before !== undefined) return before;
      const outcome = evaluate(run, {
        host: contextOf("host", paths.host, readHost(host, paths.host)),
        machine: contextOf("machine", paths.machine, readMachine(machine, paths.machine)),
      });
      own.set(it, outcome);
      if (++kept.outcomes > MOST_KEPT) {
        kept.of.clear();
        kept.outcomes = 0;
      }
      return outcome;
    },
  };
}

/** Nothing but what it speaks of: it cannot depend on what it is not projected on. */
function contextOf(side: Side, paths: readonly Path[], values: readonly (AttributeValue | undefined)[]) {
  const context: Record<string, unknown> = {};
  const group = (name: string) => {
    const own = (context[name] ?? {}) as Record<string, unknown>; // made here, below
    context[name] = own;
    return own;
  };
  for (const path of Object.keys(ATTRIBUTES[side])) {
    const [first = "", second] = path.split(".");
    if (second !== undefined || path === "labels") group(first);
  }
  for (const [i, { attribute, key }] of paths.entries()) {
    const value = values[i];
    if (value === undefined) continue;
    const type = ATTRIBUTES[side][attribute]?.type;
    const made = typeof value === "number" && type === "int" ? BigInt(Math.trunc(value)) : value;
    const [first = "", second] = attribute.split(".");
    if (key !== undefined) group(first)[key] = made;
    else if (second !== undefined) group(first)[second] = made;
    else if (typeof made === "object" && !Array.isArray(made)) Object.assign(group(first), made);
    else context[first] = made;
  }
  return context;
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

/** One that is not valid (it was stored by another version, say) is never kept, and says why. */
export function expressionOf(text: string): Expression {
  const before = kept.of.get(text);
  if (before) return before;
  let made: Expression;
  try {
    made = compile(text);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    const unknown = `it is no rule: ${error.message.split("\n")[0]}`;
    made = {
      ...expression(text, undefined, { host: [], machine: [] }, () => false),
      decide: () => ({ unknown }),
    };
  }
  kept.of.set(text, made);
  return made;
}

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
  const seen = [
    ...told("host", rule.paths.host, readHost(host, rule.paths.host)),
    ...told("machine", rule.paths.machine, readMachine(machine, rule.paths.machine)),
  ];
  return `requires ${rule.text}${seen.length > 0 ? ` (${seen.join(", ")})` : ""}`;
}

function told(side: Side, paths: readonly Path[], values: readonly (AttributeValue | undefined)[]): string[] {
  return paths.map((path, i) => {
    const value = values[i];
    const shown = typeof value === "object" ? JSON.stringify(value) : value;
    return `${describePath(side, path)} is ${shown ?? "not known"}`;
  });
}

export const isKept = (text: string, host: HostView, machine: Subject): boolean =>
  expressionOf(text).decide(host, machine) === true;

/** For `explain policy.spec.required`. */
export const RULE_HELP = `CEL over host and machine: ${SIDES.map(attributeList).join(", ")}; quantity("64Gi") is a size in bytes. What a host does not tell is absent: has(host.power.idleWatts) asks for it, and a rule that cannot be decided is not kept.`;
