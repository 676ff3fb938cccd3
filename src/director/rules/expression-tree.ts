/** The tree of a rule (expressions.ts): which attributes it reads, what rules may not do, and what is wrong, with its place in the text. Pure. */
import type { ASTNode, TypeError as CelTypeError, ParseError } from "@marcbachmann/cel-js";
import { hint } from "../../resource/nearest.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { ATTRIBUTES, describePath, membersIn, type Path, SIDES, type Side } from "./attributes.ts";

/** A rule that is none, with its place in the text. */
export class ExpressionError extends Error {}

const MACROS = ["all", "exists", "exists_one", "map", "filter"];

const isLoop = (node: ASTNode) => node.op === "rcall" && MACROS.includes(node.args[0]);

/** Every node below, with how many loops it is in. */
function* walk(node: ASTNode, loops = 0): Generator<[node: ASTNode, loops: number]> {
  yield [node, loops];
  const inner = isLoop(node) ? loops + 1 : loops;
  for (const child of childrenOf(node)) yield* walk(child, child === receiver(node) ? loops : inner);
}

/** A loop goes over a list of some hundred at most: flags of processors. */
const TURNS = 100;

/** What an evaluation takes: nodes of the tree, those in a loop at each turn. A step takes some fifth of a microsecond. */
export const stepsOf = (ast: ASTNode): number =>
  [...walk(ast)].reduce((sum, [, loops]) => sum + (loops > 0 ? TURNS : 1), 0);

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

export const fail = (text: string, at: number, why: string): never => {
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
  if (keyed) return node.op === "in" ? undefined : describePath(keyed.side, keyed);
  const path = prefixOf(node);
  return ALL.includes(path) ? path : undefined;
}

/**
 * What is asked of it by "in", or by has(), is true or false: '"x" in host.cpu.flags', whether a list has a member; or, of "host.labels.x", whether it is there at all.
 */
export function memberAt(node: ASTNode): { path: string; isPresence: boolean } | undefined {
  if (node.op === "call" && node.args[0] === "has") {
    const [asked] = node.args[1];
    const path = asked && attributeAt(asked);
    return path === undefined ? undefined : { path, isPresence: true };
  }
  const keyed = node.op === "in" ? keyOf(node) : undefined;
  return (
    keyed && {
      path: describePath(keyed.side, keyed),
      isPresence: membersIn(keyed.side, keyed.attribute) === "map",
    }
  );
}

/** The same of two parts of rules that say the same, however they are written. */
export function shapeOf(node: ASTNode): string {
  const told = (part: unknown): string => {
    if (isNode(part)) return `${part.op}(${told(part.args)})`;
    if (Array.isArray(part)) return `[${part.map(told).join()}]`;
    return typeof part === "string" ? JSON.stringify(part) : `${typeof part} ${String(part)}`;
  };
  return told(node);
}

/** In words for people; the library's own where they are as good. */
export function reason(error: ParseError | CelTypeError): [at: number, why: string] {
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
  const where = node && "op" in node ? (node as ASTNode) : undefined;
  const group = groupIn(summary);
  if (group) return [where ? (readerOf(where, group)?.start ?? at) : at, groupWords(group)];
  const asked = where && membership(where);
  const method = /^found no matching overload for '(\w+)\.(\w+)(\(.*\))'$/.exec(summary);
  if (method && where?.op === "rcall")
    return [
      placeOf(where),
      `${method[1]} has no ${method[2]}${method[3]}${asked ? `; did you mean ${asked}?` : ""}`,
    ];
  if (asked) return [at, `list has no members by name; did you mean ${asked}?`];
  const types = /^no such overload: (.+) (\S+) (\S+)$/.exec(summary);
  if (types && where)
    return [
      placeOf(where),
      `${types[2]} does not go with ${types[1]} and ${types[3]}${types.includes("double") ? "; write the number with a point, 2.0" : ""}`,
    ];
  return [at, summary];
}

/** "host.cpu" of a text that names the type of it, as the library calls it: "$host.cpu"; undefined: it names none. */
export const groupIn = (text: string): string | undefined => /\$((?:host|machine)(?:\.\w+)?)/.exec(text)?.[1];
export const groupWords = (group: string): string =>
  `${group} has attributes and is none itself (it has ${membersOf(group).join(", ")})`;

/** The node below that reads just that. */
function readerOf(node: ASTNode, prefix: string): ASTNode | undefined {
  for (const [each] of walk(node)) if (prefixOf(each) === prefix) return each;
  return undefined;
}

/** Other languages' ways to ask whether a list has something, or a map such a key. */
const ASKS = ["contains", "includes", "has"];

/** The same as rules ask it: '"x" in host.cpu.flags'. */
function membership(node: ASTNode): string | undefined {
  const text = ({ input, start, end }: ASTNode) => input.slice(start, end);
  const of = (list: ASTNode | undefined, what: string) =>
    list && withMembers(list) ? `${what} in ${text(list)}` : undefined;
  if (node.op === "rcall") {
    const [name, list, [one, ...more]] = node.args;
    return one && more.length === 0 && ASKS.includes(name) ? of(list, text(one)) : undefined;
  }
  if (node.op === ".") return of(node.args[0], JSON.stringify(node.args[1]));
  if (node.op === "[]" && node.args[1].op === "value") return of(node.args[0], text(node.args[1]));
  return undefined;
}

/** Of an operator: itself, not its left side. */
function placeOf(node: ASTNode): number {
  const [left] = childrenOf(node);
  const gap = left ? node.input.slice(left.end).search(/\S/) : -1;
  return left && left.start === node.start && gap >= 0 ? left.end + gap : node.start;
}

/** What the parts of the tree speak of. @throws ExpressionError for what rules may not do */
export function pathsOf(ast: ASTNode): Record<Side, Path[]> {
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
      add(keyed.side, { attribute: keyed.attribute, key: keyed.key });
      continue;
    }
    const side = SIDES.find((each) => prefixOf(node).startsWith(`${each}.`));
    if (side && !told.has(node)) {
      const attribute = prefixOf(node).slice(side.length + 1);
      if (Object.hasOwn(ATTRIBUTES[side], attribute)) add(side, { attribute });
    }
    if (node.op === "[]" && !keyed && SIDES.some((each) => prefixOf(node.args[0]).split(".")[0] === each))
      if (!withMembers(node.args[0]))
        fail(input, node.args[1].start, "attributes are named with a point: host.cpu.mhz");
  }
  return { host: [...paths.host.values()], machine: [...paths.machine.values()] };
}

/** The attribute that the node reads, when it is a map or a list. */
function withMembers(node: ASTNode | undefined): { side: Side; attribute: string } | undefined {
  const [side, ...rest] = prefixOf(node).split(".");
  const attribute = rest.join(".");
  return SIDES.flatMap((each) =>
    each === side && membersIn(each, attribute) ? { side: each, attribute } : [],
  )[0];
}

/** host.labels.x, host.labels["x"], "x" in host.labels, "x" in host.offers: of the labels, or the list, only that one is seen. */
function keyOf(node: ASTNode): { side: Side; attribute: string; key: string; map: ASTNode } | undefined {
  const [map, key] =
    node.op === "."
      ? node.args
      : node.op === "[]" && node.args[1].op === "value"
        ? [node.args[0], node.args[1].args]
        : node.op === "in" && node.args[0].op === "value"
          ? [node.args[1], node.args[0].args]
          : [undefined, undefined];
  const of = withMembers(map);
  if (!of || !map || typeof key !== "string") return undefined;
  // Members of a list are asked for by "in" alone.
  return node.op === "in" || membersIn(of.side, of.attribute) === "map" ? { ...of, key, map } : undefined;
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
