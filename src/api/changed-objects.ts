/** The objects of changes, parsed once for all who look at them. */
import type { Resource } from "../resource/object.ts";
import type { Change } from "../store/store.ts";

/** Stored values are written by Operations alone, after validation. resourceVersion is the store's to say: it is not in them. */
export function parseStored(value: string, revision: number): Resource {
  const object = JSON.parse(value) as Resource;
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
}

const newObjects = new WeakMap<Change, Resource>();
const oldObjects = new WeakMap<Change, Resource>();

/** The object of a change, the same one for the cache and all watchers: parsed once, and its JSON for the wire is made once. */
export function objectOf(change: Change): Resource {
  const kept = newObjects.get(change);
  if (kept) return kept;
  const object = parseStored(change.value, change.revision);
  newObjects.set(change, object);
  return object;
}

/** What a put replaced, shared in the same way; its resourceVersion may be missing. */
export function previousOf(change: Change): Resource | undefined {
  const kept = oldObjects.get(change);
  if (kept || change.previous === undefined) return kept;
  const object = JSON.parse(change.previous) as Resource;
  oldObjects.set(change, object);
  return object;
}

/** What it replaced is in memory already. */
export const knowPrevious = (change: Change, object: Resource): void => void oldObjects.set(change, object);
