/** What may be written at a place of an object: its kind's fields and their values, as the server's OpenAPI tells them. Pure. */
import type { Field } from "../../../src/client/field-docs.ts";
import type { Suggestions } from "./editor.tsx";
import { cursorAt } from "./places.ts";

const isWord = /[\w.-]*$/;

function fieldAt(root: Field, path: readonly string[]): Field | undefined {
  let found: Field | undefined = root;
  for (const name of path) found = found?.fields().find((field) => field.name === name);
  return found;
}

/** What rules may speak of: "host.cpu.mhz (int)" in what the field is said to mean. */
const ATTRIBUTE = /\b((?:host|machine)\.[\w.]+) \((\w+)\)/g;
function attributesOf(root: Field, field: Field): { label: string; detail: string }[] {
  const about = field.about.join(" ");
  const of = /\bAs in (spec\.[\w.]+)/.exec(about)?.[1];
  const told = of ? (fieldAt(root, of.split("."))?.about.join(" ") ?? "") : about;
  return [...told.matchAll(ATTRIBUTE)].map(([, label = "", detail = ""]) => ({ label, detail }));
}

/** @param root the kind as a field */
export function suggest(root: Field, text: string, position: number): Suggestions | undefined {
  const cursor = cursorAt(text, position);
  const field = cursor && fieldAt(root, cursor.path);
  if (!cursor || !field) return undefined;
  const words = position - (isWord.exec(text.slice(cursor.from, position))?.[0].length ?? 0);
  const attributes = attributesOf(root, field);
  if (attributes.length > 0) return { from: words, options: attributes };
  if (cursor.at === "value" || field.type === "[]string")
    return { from: words, options: field.allowed.map((label) => ({ label })) };
  return {
    from: cursor.from,
    options: field
      .fields()
      .filter(({ name }) => !cursor.beside.has(name) && name !== "status")
      .map(({ name, type, required, about }) => ({
        label: name,
        apply: /^\[\]|^map|Object/.test(type) ? `${name}:` : `${name}: `,
        detail: `${type}${required ? ", required" : ""}`,
        info: about.join("\n"),
      })),
  };
}
