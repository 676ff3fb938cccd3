/** The objects of changes, parsed once for all who look at them. */
import type { Resource } from "../resource/object.ts";
import type { Change } from "../store/store.ts";

/**
 * The field sets of managedFields, by their JSON: objects of a kind have mostly the same few, and each by itself they are two thirds of what an object takes in memory,
 * which a server with tens of thousands of objects spends its time on (garbage collection).
 */
const fieldSets = new Map<string, unknown>();
/** So many are known at most. */
const FIELD_SETS = 4096;

function shareFieldSets({ metadata }: Resource): void {
  // What was written behind the API's back may be anything; it is marked later (resource/invalid.ts).
  if (!Array.isArray(metadata?.managedFields)) return;
  for (const entry of metadata.managedFields) {
    if (!entry?.fieldsV1) continue;
    const text = JSON.stringify(entry.fieldsV1);
    const known = fieldSets.get(text);
    if (known) {
      entry.fieldsV1 = known as typeof entry.fieldsV1;
      continue;
    }
    if (fieldSets.size >= FIELD_SETS) fieldSets.clear();
    fieldSets.set(text, entry.fieldsV1);
  }
}

/** Stored values are written by Operations alone, after validation. resourceVersion is the store's to say: it is not in them. */
export function parseStored(value: string, revision: number): Resource {
  const object = JSON.parse(value) as Resource;
  shareFieldSets(object);
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
