/** Debian's package lists, read: stanzas (deb822), relations between packages, and which of two versions is newer. Pure. */

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

/** As dpkg orders versions (deb-version(7)). @returns below, at or above 0 */
export function compareVersions(a: string, b: string): number {
  if (a === b) return 0;
  const [x, y] = [split(a), split(b)];
  return x.epoch - y.epoch || compareParts(x.upstream, y.upstream) || compareParts(x.revision, y.revision);
}

function split(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(":");
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf("-");
  return {
    epoch: colon === -1 ? 0 : Number(version.slice(0, colon)),
    upstream: dash === -1 ? rest : rest.slice(0, dash),
    revision: dash === -1 ? "" : rest.slice(dash + 1),
  };
}

/** "~" comes before the end, the end before letters, letters before all else. */
const weight = (char: string) => {
  if (char === "~") return -1;
  if (char === "" || (char >= "0" && char <= "9")) return 0;
  const code = char.charCodeAt(0);
  return /[A-Za-z]/.test(char) ? code : code + 256;
};

const isDigit = (char: string) => char >= "0" && char <= "9" && char !== "";

function compareParts(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a.charAt(i))) || (j < b.length && !isDigit(b.charAt(j)))) {
      const order = weight(a.charAt(i)) - weight(b.charAt(j));
      if (order !== 0) return order;
      i++;
      j++;
    }
    const [x, y] = [/^\d*/.exec(a.slice(i))?.[0] ?? "", /^\d*/.exec(b.slice(j))?.[0] ?? ""];
    const order = Number(x || 0) - Number(y || 0);
    if (order !== 0) return order;
    i += x.length;
    j += y.length;
  }
  return 0;
}
