/**
 * Rules in schemas, `x-kubernetes-validations`: what fields have to do with each other, and with what they were before (oldSelf). They are
 * written in CEL, as in Kubernetes' CustomResourceDefinitions, and published with the schema, so that clients can check them, too. What
 * needs other objects, sizes or arithmetic on addresses is in the `check` of the kind.
 *
 * The CEL is @marcbachmann/cel-js: no dependencies, MIT, several releases in 2026, 0.3 MB. @bufbuild/cel (11 MB with
 * protobuf) passes more of cel-spec's conformance tests, in parts that rules here have no use for: protobuf messages, time zones.
 *
 * Cost is bounded: rules are parsed once and are small (LIMITS), a rule only sees the value that it stands on, and the lists it goes
 * through have maxItems (a test looks at all kinds). Regular expressions have their place in `pattern`, not in rules.
 */

import { Environment } from "@marcbachmann/cel-js";
import type { Cause } from "./errors.ts";
import { isFields } from "./fields.ts";
import { append, childOf, type Rule, type Schema } from "./schema.ts";

const LIMITS = {
  maxAstNodes: 200,
  maxDepth: 30,
  maxListElements: 50,
  maxMapEntries: 50,
  maxCallArguments: 8,
};

type Program = (context: Record<string, unknown>) => unknown;

const environment = new Environment({ unlistedVariablesAreDyn: false, limits: LIMITS })
  .registerVariable("self", "dyn")
  .registerVariable("oldSelf", "dyn");
const programs = new Map<string, Program>();

/** @throws Error for a rule that is not CEL: a mistake in the kind's declaration */
export function compileRule(rule: string): Program {
  const kept = programs.get(rule);
  if (kept) return kept;
  const parsed = environment.parse(rule);
  const { valid, error } = parsed.check();
  if (!valid) throw new Error(`the rule ${rule} is not valid: ${error?.message}`);
  programs.set(rule, parsed);
  return parsed;
}

/** Whether a rule is about a change: it is asked only of what was there before. */
const isTransition = ({ rule }: Rule): boolean => /\boldSelf\b/.test(rule);

const withRules = new WeakMap<Schema, boolean>();

/** Whether there are rules in this schema; most parts of most objects have none. */
function hasRules(schema: Schema): boolean {
  const kept = withRules.get(schema);
  if (kept !== undefined) return kept;
  const parts = [...Object.values(schema.properties ?? {}), ...(schema.items ? [schema.items] : [])];
  const found = Boolean(schema["x-kubernetes-validations"]?.length) || parts.some(hasRules);
  withRules.set(schema, found);
  return found;
}

/** The value as CEL has it: whole numbers are integers there, and maps have no keys but their own. */
function celValue(value: unknown, schema: Schema): unknown {
  if (typeof value === "number") return schema.type === "integer" ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map((item) => celValue(item, schema.items ?? {}));
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, celValue(inner, childOf(schema, key) ?? {})]),
  );
}

/**
 * What breaks the rules of the schema. The values have its shape. `old` is undefined for what is new: a create, a field that was not
 * there, an item of a list that is not known by its keys.
 */
export function checkRules(value: unknown, old: unknown, schema: Schema, path = ""): Cause[] {
  if (value === undefined || value === null || !hasRules(schema)) return [];
  const causes = (schema["x-kubernetes-validations"] ?? []).flatMap((rule) =>
    old === undefined && isTransition(rule) ? [] : judge(rule, value, old, schema, path),
  );
  if (Array.isArray(value) && schema.items) {
    const { items } = schema;
    for (const [i, item] of value.entries())
      append(causes, checkRules(item, itemBefore(item, old, schema), items, `${path}[${i}]`));
  }
  if (isFields(value))
    for (const [key, field] of Object.entries(schema.properties ?? {})) {
      const before = isFields(old) && Object.hasOwn(old, key) ? old[key] : undefined;
      if (Object.hasOwn(value, key))
        append(causes, checkRules(value[key], before, field, path ? `${path}.${key}` : key));
    }
  return causes;
}

function itemBefore(item: unknown, old: unknown, schema: Schema): unknown {
  const keys = schema["x-kubernetes-list-type"] === "map" ? schema["x-kubernetes-list-map-keys"] : undefined;
  if (!keys || !Array.isArray(old) || !isFields(item)) return undefined;
  return old.find((other) => isFields(other) && keys.every((key) => other[key] === item[key]));
}

function judge(rule: Rule, value: unknown, old: unknown, schema: Schema, path: string): Cause[] {
  let holds: unknown;
  try {
    const self = celValue(value, schema);
    holds = compileRule(rule.rule)(old === undefined ? { self } : { self, oldSelf: celValue(old, schema) });
  } catch (error) {
    // As in Kubernetes: what cannot be decided is refused. It names the rule, because the rule is at fault.
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "";
    const message = `Invalid value: rule ${JSON.stringify(rule.rule)} cannot be decided: ${why}`;
    return [{ field: path, reason: "FieldValueInvalid", message }];
  }
  if (holds === true) return [];
  const reason = rule.reason ?? "FieldValueInvalid";
  const field = `${path}${rule.fieldPath ?? ""}`;
  const shown = JSON.stringify(valueAt(value, rule.fieldPath)) ?? "null";
  const what = {
    FieldValueInvalid: `Invalid value: ${shown.length > 100 ? `${shown.slice(0, 100)}…` : shown}`,
    FieldValueForbidden: "Forbidden",
    FieldValueRequired: "Required value",
    FieldValueDuplicate: "Duplicate value",
  }[reason];
  return [{ field: field.replace(/^\./, ""), reason, message: `${what}: ${rule.message}` }];
}

/** The value at a path such as ".a.b" below another. */
function valueAt(value: unknown, path = ""): unknown {
  return path
    .split(".")
    .filter(Boolean)
    .reduce<unknown>((at, key) => (isFields(at) ? at[key] : undefined), value);
}
