/** Stored objects that are of another version, or that do not have the shape of their kind (see resource/invalid.ts). */
import type { Cause } from "../resource/errors.ts";
import { INVALID } from "../resource/invalid.ts";
import type { Kind } from "../resource/kind.ts";
import type { ObjectMeta, Resource } from "../resource/object.ts";
import { applyDefaults, type Schema, validate } from "../resource/schema.ts";
import { CompareFailed, type Store, type Write } from "../store/store.ts";
import { type Cache, pluralOf } from "./cache.ts";
import { METADATA_SCHEMA } from "./metadata.ts";

const SHOWN = 5;
/** Objects that are written at once. */
const GROUP = 200;

/** Makes the mark say what is wrong with the object's shape: nothing takes it away. @returns whether it says another thing now */
export function setMark(metadata: ObjectMeta, wrong: readonly Cause[]): boolean {
  const before = metadata.annotations?.[INVALID];
  const shown = wrong.slice(0, SHOWN).map(({ field, message }) => `${field}: ${message}`);
  if (wrong.length > SHOWN) shown.push(`and ${wrong.length - SHOWN} more`);
  if (wrong.length > 0) metadata.annotations = { ...metadata.annotations, [INVALID]: shown.join("; ") };
  else if (metadata.annotations && INVALID in metadata.annotations) {
    const { [INVALID]: _, ...others } = metadata.annotations;
    metadata.annotations = others;
  }
  return before !== metadata.annotations?.[INVALID];
}

/** An object as the store keeps it: its resourceVersion is the revision that the write gets. */
export function storedForm(object: Resource): string {
  const { apiVersion, kind, metadata, ...rest } = object;
  const { resourceVersion: _, ...kept } = metadata;
  return JSON.stringify({ apiVersion, kind, metadata: kept, ...rest });
}

/**
 * Brings what is stored up to the kinds as they are now: objects of another version (`old`: their keys) are written in the one that is stored,
 * defaults that a newer version has are filled in, and the mark of each object says whether it has its kind's shape. Done again, it writes
 * nothing. To be done before anyone reads of the cache: its objects are changed in place, because copies of all of a large estate take seconds.
 * @returns those that are marked
 */
export async function settleStored(
  store: Store,
  cache: Cache,
  kinds: readonly Kind[],
  old: ReadonlySet<string>,
): Promise<Resource[]> {
  const byPlural = new Map(kinds.map((kind) => [kind.plural, kind]));
  const marked: Resource[] = [];
  const writes: Write[] = [];
  for (const { key, object, revision } of cache.all()) {
    const kind = byPlural.get(pluralOf(key));
    if (!kind) continue;
    const schema: Schema = kind.schema;
    const isFilled = applyDefaults(object, schema);
    const { metadata, apiVersion: _version, kind: _kind, ...rest } = object;
    // The rules of the kind (`check`) are not asked: they are for new writes.
    const wrong = [...validate(metadata, METADATA_SCHEMA, "metadata"), ...validate(rest, schema)];
    const isMarked = setMark(metadata, wrong);
    if (wrong.length > 0) marked.push(object);
    if (isFilled || isMarked || old.has(key))
      writes.push({ key, expected: revision, value: storedForm(object) });
  }
  // So many at once that they share what makes them durable.
  for (let i = 0; i < writes.length; i += GROUP)
    await Promise.all(writes.slice(i, i + GROUP).map((write) => settle(store, write)));
  return marked;
}

/** Writes what another server may be writing just now, too. */
export async function settle(store: Store, write: Write): Promise<void> {
  await store.commit(write).catch((error: unknown) => {
    // Whoever wrote it meanwhile, another server that starts or a client through it, has seen to it.
    if (!(error instanceof CompareFailed)) throw error;
  });
}
