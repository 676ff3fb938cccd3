/** `vireo explain vm.spec.memory`: what a kind and its fields mean. */
import { type Field, fieldAt, readFieldDocs } from "./field-docs.ts";
import { kindOf, openSession, type Place } from "./resources.ts";

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
