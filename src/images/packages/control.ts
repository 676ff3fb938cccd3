/** Debian's package lists, read: stanzas (deb822), and relations between packages. Pure. */
import { compareVersions } from "./version.ts";

/** One name of a relation: "libc6 (>= 2.34)", of whatever architecture. */
export interface Relation {
  name: string;
  op?: "<<" | "<=" | "=" | ">=" | ">>";
  version?: string;
}

/** One needs one of each group; the first is what its maintainer would take. */
export type Alternatives = readonly Relation[];

/** The fields of a list's stanzas, one stanza after the other. */
export function* stanzas(text: string): Generator<Map<string, string>> {
  let fields = new Map<string, string>();
  let last = "";
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf("\n", at);
    if (end === -1) end = text.length;
    if (end === at) {
      if (fields.size > 0) yield fields;
      fields = new Map();
    } else {
      const first = text.charCodeAt(at);
      const colon = text.indexOf(":", at);
      if (first === 32 || first === 9)
        fields.set(last, `${fields.get(last) ?? ""}\n${text.slice(at + 1, end)}`);
      else if (colon !== -1 && colon < end) {
        last = text.slice(at, colon);
        fields.set(last, text.slice(colon + 1, end).trim());
      }
    }
    at = end + 1;
  }
  if (fields.size > 0) yield fields;
}

const RELATION = /^([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?(?:\s*\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?/i;

/** "a (>= 1) | b, c". What cannot be read is left out. */
export function relations(field: string | undefined): Relation[][] {
  if (!field) return [];
  return field.split(",").flatMap((group) => {
    const alternatives = group.split("|").flatMap((text) => {
      const match = RELATION.exec(text.trim());
      if (!match) return [];
      const [, name = "", op, version] = match;
      return [{ name, ...(op && version ? { op: op as NonNullable<Relation["op"]>, version } : {}) }];
    });
    return alternatives.length > 0 ? [alternatives] : [];
  });
}

/** Whether a version is one that the relation asks for. */
export function satisfies(version: string, { op, version: wanted }: Relation): boolean {
  if (op === undefined || wanted === undefined) return true;
  const order = compareVersions(version, wanted);
  if (op === "=") return order === 0;
  if (op === "<<") return order < 0;
  if (op === "<=") return order <= 0;
  return op === ">>" ? order > 0 : order >= 0;
}
