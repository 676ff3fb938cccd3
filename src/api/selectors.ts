/** Label and field selectors, with the syntax and errors of Kubernetes. */
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";

export type Predicate = (object: Resource) => boolean;

const KEY = "[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?";
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUAL = new RegExp(`^(${KEY})\\s*(==|=|!=)\\s*([-A-Za-z0-9_.]*)$`);
const COMPARE = new RegExp(`^(${KEY})\\s*([<>])\\s*(\\d{1,15})$`);
const FIELD = /^([^=!]+)(==|=|!=)(.*)$/;
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);

/** Splits at commas outside parentheses. */
function parts(selector: string): string[] {
  const found: string[] = [];
  let start = 0;
  let depth = 0;
  for (let i = 0; i <= selector.length; i++) {
    const char = selector[i];
    if (char === "(") depth++;
    else if (char === ")") depth--;
    else if (char === undefined || (char === "," && depth <= 0)) {
      found.push(selector.slice(start, i).trim());
      start = i + 1;
    }
  }
  return found.filter(Boolean);
}

/** `a=b,c!=d,e in (f,g),h,!i,j>1`. @throws ApiError BadRequest */
export function parseLabelSelector(selector: string | undefined): Predicate | undefined {
  if (!selector?.trim()) return undefined;
  const tests = parts(selector).map((part): ((labels: Record<string, string>) => boolean) => {
    const set = SET.exec(part);
    if (set) {
      const [, key = "", , operator, list = ""] = set;
      const values = new Set(list.split(",").map((value) => value.trim()));
      return (labels) =>
        (Object.hasOwn(labels, key) && values.has(labels[key] ?? "")) === (operator === "in");
    }
    const equal = EQUAL.exec(part);
    if (equal) {
      const [, key = "", , operator, value = ""] = equal;
      return (labels) => (Object.hasOwn(labels, key) && labels[key] === value) === (operator !== "!=");
    }
    const compare = COMPARE.exec(part);
    if (compare) {
      const [, key = "", , operator, value] = compare;
      const sign = operator === ">" ? 1 : -1;
      // A label that is no number matches neither.
      return (labels) =>
        Object.hasOwn(labels, key) &&
        /^-?\d{1,15}$/.test(labels[key] ?? "") &&
        (Number(labels[key]) - Number(value)) * sign > 0;
    }
    const exists = EXISTS.exec(part);
    if (exists) {
      const [, not, key = ""] = exists;
      return (labels) => Object.hasOwn(labels, key) === (not === "");
    }
    throw new ApiError(
      "BadRequest",
      `unable to parse requirement: ${JSON.stringify(part)} is not a label requirement`,
    );
  });
  return (object) => tests.every((test) => test(object.metadata.labels ?? {}));
}

/** The value at a path, as text; "" when absent. */
export function fieldAt(object: unknown, path: readonly string[]): string {
  let at: unknown = object;
  for (const key of path)
    at = typeof at === "object" && at !== null && Object.hasOwn(at, key) ? Reflect.get(at, key) : undefined;
  return at === undefined || at === null ? "" : String(at);
}

/** `metadata.name=x,status.phase!=y`; only the kind's fields. @throws ApiError BadRequest */
export function parseFieldSelector(selector: string | undefined, kind: Kind): Predicate | undefined {
  if (!selector?.trim()) return undefined;
  const known = ["metadata.name", "metadata.namespace", ...kind.selectableFields];
  const tests = parts(selector).map((part) => {
    const match = FIELD.exec(part);
    if (!match)
      throw new ApiError("BadRequest", `invalid selector: ${JSON.stringify(part)}; can't understand it`);
    const [, path = "", operator, value] = match;
    if (!known.includes(path))
      throw new ApiError(
        "BadRequest",
        `field label not supported: ${path}; ${kind.plural} have ${known.join(", ")}`,
      );
    const keys = path.split(".");
    return (object: Resource) => (fieldAt(object, keys) === value) === (operator !== "!=");
  });
  return (object) => tests.every((test) => test(object));
}

/** What a field must be; "" also when it is absent. */
export interface Equality {
  path: readonly string[];
  value: string;
}

/** What an object must have for selectors that are sound, of what is indexed: any field that the kind can be selected by, and few of the labels. */
export function equalityOf(
  { indexedLabels = [] }: Kind,
  selection: { name?: string; fieldSelector?: string; labelSelector?: string },
): Equality | undefined {
  const { name, fieldSelector = "", labelSelector = "" } = selection;
  if (name !== undefined) return { path: ["metadata", "name"], value: name };
  for (const part of parts(fieldSelector)) {
    const [, path = "", operator, value = ""] = FIELD.exec(part) ?? [];
    if (operator && operator !== "!=") return { path: path.split("."), value };
  }
  for (const part of parts(labelSelector)) {
    const [, key = "", , operator, value = ""] = EQUAL.exec(part) ?? [];
    if (operator && operator !== "!=" && indexedLabels.includes(key))
      return { path: ["metadata", "labels", key], value };
  }
  return undefined;
}
