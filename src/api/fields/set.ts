/**
 * Sets of fields, in the form that Kubernetes calls FieldsV1 and keeps in metadata.managedFields:
 *
 *   {"f:spec": {"f:memory": {}, "f:disks": {"k:{\"name\":\"root\"}": {".": {}, "f:size": {}}}}}
 *
 * is {spec.memory, spec.disks[name="root"], spec.disks[name="root"].size}. Elements are `f:` a field, `k:` an item of a list by its
 * keys, `v:` an item of a set by its value. A node is in the set when it has "." or no children. The JSON is worked on as it is:
 * decoding it into something else and back would be most of the cost of a write. Every element has a prefix, so no key can be
 * `__proto__`. Nothing here changes its arguments; parts are shared.
 *
 * Source: sigs.k8s.io/structured-merge-diff, fieldpath.
 */
export interface FieldSet {
  readonly [element: string]: FieldSet;
}

/** A node that is in the set and has nothing below. */
export const LEAF: FieldSet = Object.freeze({});
export const EMPTY: FieldSet = LEAF;

export function isEmpty(set: FieldSet): boolean {
  for (const _ in set) return false;
  return true;
}

/** Whether a node (never the root) is itself in the set. */
export const isMember = (node: FieldSet): boolean => "." in node || isEmpty(node);

/** A node of its parts; undefined when nothing is in it. `children` may be changed: it must be the caller's own. */
export function nodeOf(member: boolean, children: Record<string, FieldSet>): FieldSet | undefined {
  delete children["."];
  if (isEmpty(children)) return member ? LEAF : undefined;
  if (member) children["."] = LEAF;
  return children;
}

/** The root of what is below it. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmpty(a)) return b;
  if (isEmpty(b) || a === b) return a;
  const result: Record<string, FieldSet> = { ...a };
  for (const element in b) {
    const [x, y] = [a[element], b[element]];
    if (!y) continue;
    result[element] = x && element !== "." ? unionNodes(x, y) : y;
  }
  return result;
}

function unionNodes(x: FieldSet, y: FieldSet): FieldSet {
  const member = isMember(x) || isMember(y);
  const all = union(x, y);
  return member && !isEmpty(all) && !("." in all) ? { ".": LEAF, ...all } : all;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const element in a) {
    if (element === ".") continue;
    const [x, y] = [a[element], b[element]];
    if (!x || !y) continue;
    const node = nodeOf(isMember(x) && isMember(y), { ...intersection(x, y) });
    if (node) result[element] = node;
  }
  return result;
}

/** What is in `a` and not in `b`. A node taken away leaves what is below it. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmpty(b)) return a;
  const result: Record<string, FieldSet> = {};
  for (const element in a) {
    if (element === ".") continue;
    const [x, y] = [a[element], b[element]];
    if (!x) continue;
    const node = y ? nodeOf(isMember(x) && !isMember(y), { ...difference(x, y) }) : x;
    if (node) result[element] = node;
  }
  return result;
}

/** As people read them in conflicts: `.spec.disks[name="root"].size`, `.metadata.finalizers[="a/b"]`. */
export function pathsOf(set: FieldSet, prefix = ""): string[] {
  return Object.entries(set).flatMap(([element, node]) => {
    if (element === ".") return [];
    const path = prefix + shown(element);
    return [...(isMember(node) ? [path] : []), ...pathsOf(node, path)];
  });
}

function shown(element: string): string {
  const text = element.slice(2);
  if (element.startsWith("f:")) return `.${text}`;
  if (element.startsWith("v:")) return `[=${text}]`;
  if (!element.startsWith("k:")) return `[${text}]`;
  const keys: unknown = JSON.parse(text);
  return `[${Object.entries(Object(keys))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join(",")}]`;
}

/** Whether a value that a client sent is a field set. Its depth was limited when it was parsed. */
export function isFieldSet(value: unknown): value is FieldSet {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(
    ([element, node]) => (element === "." || /^[fvi]:/.test(element) || isKeys(element)) && isFieldSet(node),
  );
}

function isKeys(element: string): boolean {
  if (!element.startsWith("k:{")) return false;
  try {
    JSON.parse(element.slice(2));
    return true;
  } catch {
    return false;
  }
}
