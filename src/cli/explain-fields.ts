/** `vireo explain vm.spec.memory`: what a kind and its fields mean. */
import { type Field, readFieldDocs } from "../client/field-docs.ts";
import { hint } from "../resource/nearest.ts";
import { kindOf, openSession, type Place } from "./resources.ts";
import { UserError } from "./user-error.ts";

/** @throws UserError with the nearest field */
export async function explainFields(
  what: string,
  options: Place & { recursive: boolean },
  print: (line: string) => void,
): Promise<void> {
  const session = await openSession(options);
  const [word = "", ...path] = what.split(".");
  const kind = kindOf(session.kinds, word);
  const field = fieldAt(await readFieldDocs(session.client, kind, word), path);
  print(`KIND:     ${kind.kind}\nVERSION:  ${kind.group ? `${kind.group}/` : ""}${kind.version}`);
  if (path.length > 0) print(`FIELD:    ${path.join(".")} <${field.type}>`);
  print(`\n${field.about.map((line) => `  ${line}`).join("\n") || "  (no description)"}`);
  const list = (fields: readonly Field[], indent: string): void => {
    for (const { name, type, required, about, fields: below } of fields) {
      print(`${indent}${name} <${type}>${required ? " -required-" : ""}`);
      if (options.recursive) list(below(), `${indent}  `);
      else for (const line of about) print(`${indent}  ${line}`);
    }
  };
  const fields = field.fields();
  if (fields.length > 0) {
    print("\nFIELDS:");
    list(fields, "  ");
  }
}

/** The field at the path. @throws UserError with the nearest there is */
export function fieldAt(root: Field, path: readonly string[]): Field {
  let found = root;
  let walked = root.name;
  for (const name of path) {
    const fields = found.fields();
    const next = fields.find((field) => field.name === name);
    if (!next) {
      const names = fields.map((field) => field.name);
      throw new UserError(
        names.length === 0
          ? `${walked} has no fields: it is a ${found.type}`
          : `${walked} has no field ${JSON.stringify(name)}${hint(name, names)}; it has ${names.join(", ")}`,
      );
    }
    found = next;
    walked += `.${name}`;
  }
  return found;
}
