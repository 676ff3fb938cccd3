/**
 * kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}{.metadata.name}{"\n"}{end}`.
 * Source: kubernetes.io/docs/reference/kubectl/jsonpath. By hand, because npm's JSONPath packages speak another dialect (no templates, no
 * range) and the largest of them evaluates filters as code; here nothing is evaluated.
 */
import { UserError } from "./user-error.ts";

type Step =
  | { type: "key"; key: string }
  | { type: "all" }
  | { type: "deep" }
  | { type: "slice"; from: number | undefined; to: number | undefined; step: number }
  /** What each of the paths gives, one path after the other: ['a.b','c'], [0,2]. */
  | { type: "union"; paths: Step[][] }
  | { type: "index"; index: number }
  | { type: "filter"; left: Operand; operator: string; right: Operand };
type Operand = { steps: Step[] } | { literal: unknown };
type Part =
  | { type: "text"; text: string }
  | { type: "path"; steps: Step[] }
  | { type: "range"; steps: Step[]; body: Part[] };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const childrenOf = (value: unknown): unknown[] =>
  Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];

function wrong(template: string, what: string): UserError {
  return new UserError(
    `jsonpath ${JSON.stringify(template)}: ${what}; an example is {.items[*].metadata.name}`,
  );
}

const STRING = /^(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/;
const unescaped = (text: string) =>
  text.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/g, (_, code: string | undefined, letter: string) =>
    code ? String.fromCharCode(Number.parseInt(code, 16)) : ({ n: "\n", t: "\t", r: "\r" }[letter] ?? letter),
  );

function stringAt(text: string): { value: string; length: number } | undefined {
  const match = STRING.exec(text);
  return match ? { value: unescaped(match[1] ?? match[2] ?? ""), length: match[0].length } : undefined;
}

/** The index of the bracket that closes the one at `start`; strings between are passed over. */
function closing(text: string, start: number, template: string): number {
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    const string = stringAt(text.slice(i));
    if (string) i += string.length - 1;
    else if (text[i] === "[" || text[i] === "{") depth++;
    else if ((text[i] === "]" || text[i] === "}") && --depth === 0) return i;
  }
  throw wrong(template, `${text[start]} is not closed`);
}

/** One side of a comparison: `@.spec.cpus`, `"db"`, `2`. */
function operand(text: string, template: string): Operand {
  const string = stringAt(text);
  if (string?.length === text.length) return { literal: string.value };
  if (text === "true" || text === "false") return { literal: text === "true" };
  if (text !== "" && !Number.isNaN(Number(text))) return { literal: Number(text) };
  if (/^[@.$]/.test(text)) return { steps: parsePath(text, template, FILTER_KEY) };
  throw wrong(template, `${text} is neither a path (@.a) nor a string in quotes, a number, true or false`);
}

/** The operator outside of strings, and where it is. */
function operatorIn(text: string): { operator: string; at: number } | undefined {
  for (let i = 0; i < text.length; i++) {
    const string = stringAt(text.slice(i));
    const operator = /^(?:==|!=|<=|>=|<|>)/.exec(text.slice(i))?.[0];
    if (string) i += string.length - 1;
    else if (operator) return { operator, at: i };
  }
  return undefined;
}

function bracket(inner: string, template: string): Step {
  const text = inner.trim();
  if (text === "*") return { type: "all" };
  const filter = /^\?\((.*)\)$/s.exec(text);
  if (filter) {
    const condition = (filter[1] ?? "").trim();
    const { operator, at } = operatorIn(condition) ?? { operator: "", at: condition.length };
    return {
      type: "filter",
      left: operand(condition.slice(0, at).trim(), template),
      operator,
      right: operator ? operand(condition.slice(at + operator.length).trim(), template) : { steps: [] },
    };
  }
  if (/^(-?\d+)(\s*,\s*-?\d+)*$/.test(text)) {
    const all = text.split(",").map((index): Step => ({ type: "index", index: Number(index) }));
    return all.length === 1 && all[0] ? all[0] : { type: "union", paths: all.map((one) => [one]) };
  }
  const slice = /^(-?\d*)\s*:\s*(-?\d*)(?:\s*:\s*(\d+))?$/.exec(text);
  if (slice) {
    const bound = (part: string | undefined) => (part ? Number(part) : undefined);
    return { type: "slice", from: bound(slice[1]), to: bound(slice[2]), step: bound(slice[3]) || 1 };
  }
  const paths: Step[][] = [];
  for (let rest = text; rest; ) {
    const match = STRING.exec(rest);
    if (!match) throw wrong(template, `[${inner}] is not understood`);
    // As in kubectl a dot in it divides, and \\. is the dot of a key.
    paths.push(parsePath(match[1] ?? match[2] ?? "", template));
    rest = rest.slice(match[0].length).replace(/^\s*,\s*/, "");
  }
  if (paths.length === 0) throw wrong(template, "[] is empty");
  return { type: "union", paths };
}

/** A key after its dot. A dot inside it is written \. (as in annotations' keys). */
const KEY = /^\.((?:\\.|[^.[\]\\{}\s])+)/;
const FILTER_KEY = /^\.((?:\\.|[^.[\]\\{}\s=<>!~()"'&|,])+)/;

/** Steps of ".metadata.name", "$.items[0]", "items[*]". */
function parsePath(path: string, template: string, keys = KEY): Step[] {
  const steps: Step[] = [];
  let rest = path.replace(/^[$@]/, "");
  if (rest && !/^[.[]/.test(rest)) rest = `.${rest}`;
  while (rest) {
    if (rest.startsWith("[")) {
      const end = closing(rest, 0, template);
      steps.push(bracket(rest.slice(1, end), template));
      rest = rest.slice(end + 1);
      continue;
    }
    if (rest === ".") break;
    if (rest.startsWith("..")) {
      steps.push({ type: "deep" });
      rest = rest.slice(rest[2] === "[" ? 2 : 1);
      continue;
    }
    const match = keys.exec(rest);
    if (!match) throw wrong(template, `not understood from ${JSON.stringify(rest)}`);
    const key = (match[1] ?? "").replace(/\\(.)/g, "$1");
    steps.push(key === "*" ? { type: "all" } : { type: "key", key });
    rest = rest.slice(match[0].length);
  }
  return steps;
}

/** @throws UserError */
export function parseTemplate(template: string): Part[] {
  if (template === "") throw wrong(template, "is empty");
  const root: Part[] = [];
  const open: { body: Part[] }[] = [{ body: root }];
  for (let rest = template; rest; ) {
    const into = open.at(-1)?.body ?? root;
    const start = rest.indexOf("{");
    if (start !== 0) {
      into.push({ type: "text", text: start === -1 ? rest : rest.slice(0, start) });
      rest = start === -1 ? "" : rest.slice(start);
      continue;
    }
    const end = closing(rest, 0, template);
    const inner = rest.slice(1, end).trim();
    rest = rest.slice(end + 1);
    const string = stringAt(inner);
    if (string?.length === inner.length) into.push({ type: "text", text: string.value });
    else if (inner === "end") {
      if (open.length === 1) throw wrong(template, "{end} without {range}");
      open.pop();
    } else if (inner.startsWith("range ")) {
      const part: Part = { type: "range", steps: parsePath(inner.slice(6).trim(), template), body: [] };
      into.push(part);
      open.push(part);
    } else into.push({ type: "path", steps: parsePath(inner, template) });
  }
  if (open.length > 1) throw wrong(template, "{range} without {end}");
  return root;
}

function descendants(value: unknown): unknown[] {
  return [value, ...childrenOf(value).flatMap(descendants)];
}

/** What a path stumbles over in this object: an array that is too short, a comparison of a text with a number. */
class Stumble extends Error {}

function compare(left: unknown, operator: string, right: unknown): boolean {
  if (typeof left !== typeof right)
    throw new Stumble(
      `${JSON.stringify(left)} ${operator} ${JSON.stringify(right)} compares a ${typeof left} with a ${typeof right}`,
    );
  if (operator === "==") return left === right;
  if (operator === "!=") return left !== right;
  if (
    !(typeof left === "number" && typeof right === "number") &&
    !(typeof left === "string" && typeof right === "string")
  )
    throw new Stumble(
      `${JSON.stringify(left)} ${operator} ${JSON.stringify(right)}: only numbers and texts have an order`,
    );
  if (operator === "<") return left < right;
  if (operator === "<=") return left <= right;
  return operator === ">" ? left > right : left >= right;
}

/** `[from:to]` with kubectl's bounds: what is outside of the array is an error, not nothing. */
function slice(value: unknown, from: number, to: number, step: number): unknown[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw new Stumble(`[${from}] of what is no array`);
  if (from === to) return [];
  const outside = from < 0 || from >= value.length ? from : to < 0 || to > value.length ? to - 1 : undefined;
  if (outside !== undefined)
    throw new Stumble(`the array has ${value.length} elements, so there is no [${outside}]`);
  if (from > to) throw new Stumble(`[${from}:${to}] begins after its end`);
  return value.slice(from, to).filter((_, i) => i % step === 0);
}

const operandsOf = (operand: Operand, item: unknown): unknown[] =>
  "steps" in operand ? walk([item], operand.steps) : [operand.literal];

/** @throws Stumble */
function step(values: readonly unknown[], next: Step): unknown[] {
  if (next.type === "union") return next.paths.flatMap((path) => walk(values, path));
  const from = (value: unknown): unknown[] => {
    const length = Array.isArray(value) ? value.length : 0;
    const fromStart = (index: number) => (index < 0 ? index + length : index);
    switch (next.type) {
      case "all":
        return childrenOf(value);
      case "deep":
        return descendants(value);
      case "key":
        return isObject(value) && Object.hasOwn(value, next.key) ? [value[next.key]] : [];
      case "index":
        return slice(value, fromStart(next.index), fromStart(next.index) + 1, 1);
      case "slice":
        return slice(value, fromStart(next.from ?? 0), fromStart(next.to ?? length), next.step);
      case "filter":
        return childrenOf(value).filter((item) => {
          const left = operandsOf(next.left, item);
          if (!next.operator) return left.length > 0;
          const right = operandsOf(next.right, item);
          return left.some((one) => right.some((other) => compare(one, next.operator, other)));
        });
    }
  };
  return values.flatMap(from);
}

const walk = (values: readonly unknown[], steps: readonly Step[]): unknown[] =>
  steps.reduce<unknown[]>(step, [...values]);

const shown = (value: unknown) =>
  typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);

/** The values at a path in a template of one path; for `wait --for=jsonpath`. What is not there (yet) is nothing. */
export function valuesAt(parts: readonly Part[], object: unknown): unknown[] {
  try {
    return parts.flatMap((part) => (part.type === "path" ? walk([object], part.steps) : []));
  } catch (error) {
    if (error instanceof Stumble) return [];
    throw error;
  }
}

/** What the template makes of the object. A key that is not there is nothing, as in kubectl get. @throws UserError */
export function render(parts: readonly Part[], object: unknown): string {
  try {
    return renderParts(parts, object);
  } catch (error) {
    if (error instanceof Stumble) throw new UserError(`jsonpath: ${error.message}`);
    throw error;
  }
}

function renderParts(parts: readonly Part[], object: unknown): string {
  return parts
    .map((part) => {
      if (part.type === "text") return part.text;
      const values = walk([object], part.steps);
      return part.type === "path"
        ? values.map(shown).join(" ")
        : values.map((value) => renderParts(part.body, value)).join("");
    })
    .join("");
}
