/**
 * kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}{.metadata.name}{"\n"}{end}`.
 * Source: kubernetes.io/docs/reference/kubectl/jsonpath. By hand, because npm's JSONPath packages speak another dialect (no templates, no
 * range) and the largest of them evaluates filters as code; here nothing is evaluated.
 */
import { UserError } from "./user-error.ts";

type Step =
  | { type: "key"; keys: string[] }
  | { type: "all" }
  | { type: "deep" }
  | { type: "slice"; from: number | undefined; to: number | undefined; step: number }
  | { type: "index"; index: number[] }
  | { type: "filter"; path: Step[]; operator: string; value: unknown };
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
  text.replace(/\\(.)/g, (_, letter: string) => ({ n: "\n", t: "\t", r: "\r" })[letter] ?? letter);

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

function literal(text: string, template: string): unknown {
  const string = stringAt(text);
  if (string?.length === text.length) return string.value;
  if (text === "true" || text === "false") return text === "true";
  if (text !== "" && !Number.isNaN(Number(text))) return Number(text);
  throw wrong(template, `${text} is neither a string in quotes nor a number, true or false`);
}

function bracket(inner: string, template: string): Step {
  const text = inner.trim();
  if (text === "*") return { type: "all" };
  const filter = /^\?\((.*)\)$/s.exec(text);
  if (filter) {
    const [, path = "", operator = "", value = ""] =
      /^(.*?)(?:\s*(==|!=|<=|>=|<|>)\s*(.*))?$/s.exec((filter[1] ?? "").trim()) ?? [];
    return {
      type: "filter",
      path: parsePath(path.trim().replace(/^@/, ""), template),
      operator,
      value: operator ? literal(value.trim(), template) : undefined,
    };
  }
  if (/^(-?\d+)(\s*,\s*-?\d+)*$/.test(text)) return { type: "index", index: text.split(",").map(Number) };
  const slice = /^(-?\d*)\s*:\s*(-?\d*)(?:\s*:\s*(\d+))?$/.exec(text);
  if (slice) {
    const bound = (part: string | undefined) => (part ? Number(part) : undefined);
    return { type: "slice", from: bound(slice[1]), to: bound(slice[2]), step: bound(slice[3]) || 1 };
  }
  const keys: string[] = [];
  for (let rest = text; rest; ) {
    const string = stringAt(rest);
    if (!string) throw wrong(template, `[${inner}] is not understood`);
    keys.push(string.value);
    rest = rest.slice(string.length).replace(/^\s*,\s*/, "");
  }
  if (keys.length === 0) throw wrong(template, "[] is empty");
  return { type: "key", keys };
}

/** Steps of ".metadata.name", "$.items[0]", "items[*]". */
function parsePath(path: string, template: string): Step[] {
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
    // A dot inside a key is written \. (as in annotations' keys).
    const match = /^\.((?:\\.|[^.[\]\\{}\s])+)/.exec(rest);
    if (!match) throw wrong(template, `not understood from ${JSON.stringify(rest)}`);
    const key = (match[1] ?? "").replace(/\\(.)/g, "$1");
    steps.push(key === "*" ? { type: "all" } : { type: "key", keys: [key] });
    rest = rest.slice(match[0].length);
  }
  return steps;
}

/** @throws UserError */
export function parseTemplate(template: string): Part[] {
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

function compare(left: unknown, operator: string, right: unknown): boolean {
  if (operator === "==") return left === right;
  if (operator === "!=") return left !== right;
  if (
    !(typeof left === "number" && typeof right === "number") &&
    !(typeof left === "string" && typeof right === "string")
  )
    return false;
  if (operator === "<") return left < right;
  if (operator === "<=") return left <= right;
  return operator === ">" ? left > right : left >= right;
}

function step(values: readonly unknown[], next: Step): unknown[] {
  const from = (value: unknown): unknown[] => {
    switch (next.type) {
      case "all":
        return childrenOf(value);
      case "deep":
        return descendants(value);
      case "key":
        return next.keys.flatMap((key) => (isObject(value) && Object.hasOwn(value, key) ? [value[key]] : []));
      case "index":
        return Array.isArray(value)
          ? next.index.flatMap((i) => (value.at(i) === undefined ? [] : [value.at(i)]))
          : [];
      case "slice":
        return Array.isArray(value)
          ? value.slice(next.from ?? 0, next.to ?? value.length).filter((_, i) => i % next.step === 0)
          : [];
      case "filter":
        return childrenOf(value).filter((item) => {
          const found = next.path.reduce<unknown[]>(step, [item]);
          return next.operator
            ? found.some((one) => compare(one, next.operator, next.value))
            : found.length > 0;
        });
    }
  };
  return values.flatMap(from);
}

const shown = (value: unknown) =>
  typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);

/** The values at a path in a template of one path; for `wait --for=jsonpath`. */
export function valuesAt(parts: readonly Part[], object: unknown): unknown[] {
  return parts.flatMap((part) => (part.type === "path" ? part.steps.reduce<unknown[]>(step, [object]) : []));
}

/** What the template makes of the object. A path that is not there is nothing, as in kubectl get. */
export function render(parts: readonly Part[], object: unknown): string {
  return parts
    .map((part) => {
      if (part.type === "text") return part.text;
      const values = part.steps.reduce<unknown[]>(step, [object]);
      return part.type === "path"
        ? values.map(shown).join(" ")
        : values.map((value) => render(part.body, value)).join("");
    })
    .join("");
}
