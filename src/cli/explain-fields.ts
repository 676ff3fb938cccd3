/** `vireo explain vm.spec.memory`: what a kind and its fields mean, from the server's own OpenAPI. */
import { isFields } from "../resource/fields.ts";
import { hint } from "./nearest.ts";
import { kindOf, openSession, type Place } from "./resources.ts";
import { UserError } from "./user-error.ts";

type Schema = Record<string, unknown>;
const text = (value: unknown) => (typeof value === "string" ? value : "");

/** @throws UserError with the nearest field */
export async function explainFields(
  what: string,
  options: Place & { recursive: boolean },
  print: (line: string) => void,
): Promise<void> {
  const session = await openSession(options);
  const [word = "", ...path] = what.split(".");
  const kind = kindOf(session.kinds, word);
  const version = kind.group ? `apis/${kind.group}/${kind.version}` : `api/${kind.version}`;
  const document = await session.client.request({ method: "GET", path: `/openapi/v3/${version}` });
  const schemas =
    isFields(document) && isFields(document.components) && isFields(document.components.schemas)
      ? document.components.schemas
      : {};
  const follow = (schema: unknown): Schema => {
    if (!isFields(schema)) return {};
    const reference =
      text(schema.$ref) ||
      (Array.isArray(schema.allOf) ? text(Reflect.get(Object(schema.allOf[0]), "$ref")) : "");
    if (!reference) return schema;
    const target = follow(schemas[reference.replace("#/components/schemas/", "")]);
    return { ...target, ...(schema.description ? { description: schema.description } : {}) };
  };
  const isOfKind = (schema: unknown) => {
    const kinds = isFields(schema) ? schema["x-kubernetes-group-version-kind"] : undefined;
    return (
      Array.isArray(kinds) &&
      kinds.some((one) => isFields(one) && one.kind === kind.kind && one.group === kind.group)
    );
  };
  const root = Object.values(schemas).find(isOfKind);
  if (!root) throw new UserError(`the server's OpenAPI does not describe ${kind.kind}`);
  /** The schema whose fields are looked at: of a list its items', of a map its values'. */
  const inside = (schema: Schema): Schema => {
    if (schema.items !== undefined) return inside(follow(schema.items));
    if (isFields(schema.additionalProperties)) return inside(follow(schema.additionalProperties));
    return schema;
  };
  const typeOf = (schema: Schema): string => {
    if (schema.items !== undefined) return `[]${typeOf(follow(schema.items))}`;
    if (isFields(schema.additionalProperties))
      return `map[string]${typeOf(follow(schema.additionalProperties))}`;
    return text(schema.type) || "Object";
  };
  const fieldsOf = (schema: Schema) => {
    const { properties, required } = inside(schema);
    const needed = Array.isArray(required) ? required : [];
    return Object.entries(isFields(properties) ? properties : {}).map(([name, field]) => ({
      name,
      schema: follow(field),
      needed: needed.includes(name),
    }));
  };

  let schema = follow(root);
  let walked = word;
  for (const name of path) {
    const fields = fieldsOf(schema);
    const field = fields.find((candidate) => candidate.name === name);
    if (!field) {
      const names = fields.map((candidate) => candidate.name);
      throw new UserError(
        names.length === 0
          ? `${walked} has no fields: it is a ${typeOf(schema)}`
          : `${walked} has no field ${JSON.stringify(name)}${hint(name, names)}; it has ${names.join(", ")}`,
      );
    }
    schema = field.schema;
    walked += `.${name}`;
  }
  print(`KIND:     ${kind.kind}\nVERSION:  ${kind.group ? `${kind.group}/` : ""}${kind.version}`);
  if (path.length > 0) print(`FIELD:    ${path.join(".")} <${typeOf(schema)}>`);
  const described = [
    text(schema.description) || text(inside(schema).description),
    ...facts(inside(schema)),
  ].filter(Boolean);
  print(`\n${described.map((line) => `  ${line}`).join("\n") || "  (no description)"}`);
  const list = (fields: ReturnType<typeof fieldsOf>, indent: string): void => {
    for (const field of fields) {
      print(`${indent}${field.name} <${typeOf(field.schema)}>${field.needed ? " -required-" : ""}`);
      if (options.recursive) list(fieldsOf(field.schema), `${indent}  `);
      else
        for (const line of [text(field.schema.description), ...facts(inside(field.schema))].filter(Boolean))
          print(`${indent}  ${line}`);
    }
  };
  const fields = fieldsOf(schema);
  if (fields.length > 0) {
    print("\nFIELDS:");
    list(fields, "  ");
  }
}

/** Default, allowed values and bounds, each in a line. */
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
  ].filter(Boolean);
}
