/** What a kind's fields are, read from the server's own OpenAPI. */
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import type { ServedKind } from "./discovery.ts";
import type { HttpClient } from "./http.ts";

type Schema = Record<string, unknown>;

export interface Field {
  name: string;
  /** "string", "[]Object", "map[string]string". */
  type: string;
  required: boolean;
  /** What it means, then its allowed values, bounds and default, each a line. */
  about: readonly string[];
  /** What its value, or each of its values, is one of; nothing: of many. */
  allowed: readonly string[];
  fields: () => readonly Field[];
}

const text = (value: unknown) => (typeof value === "string" ? value : "");

/** The kind itself as a field, named `word` in errors. @throws ApiError */
export async function readFieldDocs(
  client: Pick<HttpClient, "request">,
  kind: Pick<ServedKind, "group" | "version" | "kind">,
  word: string,
  signal?: AbortSignal,
): Promise<Field> {
  const version = kind.group ? `apis/${kind.group}/${kind.version}` : `api/${kind.version}`;
  const document = await client.request({ method: "GET", path: `/openapi/v3/${version}`, signal });
  const schemas =
    isFields(document) && isFields(document.components) && isFields(document.components.schemas)
      ? document.components.schemas
      : {};
  const isOfKind = (schema: unknown) => {
    const kinds = isFields(schema) ? schema["x-kubernetes-group-version-kind"] : undefined;
    return (
      Array.isArray(kinds) &&
      kinds.some((one) => isFields(one) && one.kind === kind.kind && one.group === kind.group)
    );
  };
  const root = Object.values(schemas).find(isOfKind);
  if (!root) throw new ApiError("NotFound", `the server's OpenAPI does not describe ${kind.kind}`);
  return fieldOf(schemas, word, root, false);
}

function fieldOf(schemas: Schema, name: string, given: unknown, required: boolean): Field {
  const follow = (schema: unknown): Schema => {
    if (!isFields(schema)) return {};
    const [first]: unknown[] = Array.isArray(schema.allOf) ? schema.allOf : [];
    const reference = text(schema.$ref) || (isFields(first) ? text(first.$ref) : "");
    if (!reference) return schema;
    const target = follow(schemas[reference.replace("#/components/schemas/", "")]);
    return { ...target, ...(schema.description ? { description: schema.description } : {}) };
  };
  /** The schema whose fields are meant: of a list its items', of a map its values'. */
  const inside = (schema: Schema): Schema => {
    if (schema.items !== undefined) return inside(follow(schema.items));
    if (isFields(schema.additionalProperties)) return inside(follow(schema.additionalProperties));
    return schema;
  };
  const typeOf = (schema: Schema): string => {
    if (schema.items !== undefined) return `[]${typeOf(follow(schema.items))}`;
    if (isFields(schema.additionalProperties))
      return `map[string]${typeOf(follow(schema.additionalProperties))}`;
    // As kubectl writes it.
    return schema.type === "object" ? "Object" : text(schema.type) || "Object";
  };
  const schema = follow(given);
  const inner = inside(schema);
  return {
    name,
    type: typeOf(schema),
    required,
    allowed:
      inner.type === "boolean" ? ["true", "false"] : Array.isArray(inner.enum) ? inner.enum.map(String) : [],
    about: [text(schema.description) || text(inner.description), ...facts(inner)].filter(Boolean),
    fields: () => {
      const needed = Array.isArray(inner.required) ? inner.required : [];
      return Object.entries(isFields(inner.properties) ? inner.properties : {}).map(([key, property]) =>
        fieldOf(schemas, key, property, needed.includes(key)),
      );
    },
  };
}

/** Allowed values, bounds and default. */
function facts(schema: Schema): string[] {
  const { minimum, maximum } = schema;
  const bounds = [
    minimum === undefined ? "" : `at least ${minimum}`,
    maximum === undefined ? "" : `at most ${maximum}`,
  ].filter(Boolean);
  return [
    Array.isArray(schema.enum) ? `one of: ${schema.enum.join(", ")}` : "",
    bounds.join(", "),
    schema.default === undefined ? "" : `default: ${JSON.stringify(schema.default)}`,
  ];
}
