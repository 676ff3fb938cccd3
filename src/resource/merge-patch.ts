import { type Fields, isFields } from "./fields.ts";

/** The merge patch (RFC 7386) that makes `after` of `before`; lists are replaced whole. Both are JSON. Pure. */
export function mergePatchOf(before: unknown, after: unknown): Fields {
  const patch: Fields = {};
  const [was, is] = [isFields(before) ? before : {}, isFields(after) ? after : {}];
  for (const [key, value] of Object.entries(is)) {
    const present = Object.hasOwn(was, key) ? was[key] : undefined;
    if (isFields(value) && isFields(present)) {
      const inner = mergePatchOf(present, value);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (!isSame(value, present)) patch[key] = value;
  }
  for (const key of Object.keys(was)) if (!Object.hasOwn(is, key)) patch[key] = null;
  return patch;
}

/** Whether both change the same, so that it counts which of them comes last. */
export function collide(a: Fields, b: Fields): boolean {
  return Object.entries(a).some(([key, mine]) => {
    if (!Object.hasOwn(b, key)) return false;
    const theirs = b[key];
    return !isFields(mine) || !isFields(theirs) || collide(mine, theirs);
  });
}

/** Whether two values of JSON are the same; the order of fields does not count. */
function isSame(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((each, at) => isSame(each, b[at]));
  if (!isFields(a) || !isFields(b)) return a === b;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
  );
}
