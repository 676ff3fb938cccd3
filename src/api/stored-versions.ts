/**
 * Stored objects say by their apiVersion in which version of their kind they are. Those of another one than the kind is stored in now are
 * turned into it wherever they are read, and written so at the start (stored.ts); as in Kubernetes, nothing else tells of a migration, so that
 * it can be cut short, done twice, or done by several servers at once.
 *
 * For old and new servers beside each other a version has to be known in one release before objects are stored in it in the next; Policy v2 was not, so
 * that all servers are upgraded at once (docs/state.md). A server that comes upon a version it does not know ends itself, rather than take the
 * object for something else.
 */
import { isFields } from "../resource/fields.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { overlay } from "../store/overlay.ts";
import type { Change, Entry, Store } from "../store/store.ts";
import { pluralOf } from "./cache.ts";
import { groupVersion } from "./served.ts";

/** A stored object that this version of Vireo cannot read. */
export class StoredVersionError extends Error {}

/**
 * @param value as it is stored
 * @returns the object in the version that the kind is stored in; undefined when it is in that already
 * @throws StoredVersionError
 */
function turned(kind: Kind, key: string, value: string): string | undefined {
  const apiVersion = groupVersion(kind);
  // As storedForm writes it.
  if (value.startsWith(`{"apiVersion":${JSON.stringify(apiVersion)},`)) return undefined;
  const object: unknown = JSON.parse(value);
  const stored = isFields(object) ? object.apiVersion : undefined;
  if (stored === apiVersion) return undefined;
  const [plural, ...name] = key.split("/");
  const what = `${plural} ${name.join("/")} is stored as ${JSON.stringify(stored)}`;
  const known = kind.versions ?? [];
  const declared = known.find(({ version }) => groupVersion({ group: kind.group, version }) === stored);
  if (!declared) {
    const versions = [kind.version, ...known.map(({ version }) => version)].join(", ");
    throw new StoredVersionError(
      `${what}, which this version of Vireo does not know (it knows ${versions}); start the version that wrote it, or one newer`,
    );
  }
  try {
    const { apiVersion: _, ...rest } = declared.toStored(object as Resource); // stored by Operations
    return JSON.stringify({ apiVersion, ...rest });
  } catch (cause) {
    throw new StoredVersionError(
      `${what}, and could not be turned into ${apiVersion}; it was left as it is`,
      {
        cause,
      },
    );
  }
}

/**
 * The store, with every object in the version that its kind is stored in. What is written is that already. `onOld` is told the keys that were
 * read in another one. It fails, as `failed` tells, when a version comes that is not known.
 */
export function inStoredVersions(inner: Store, kinds: readonly Kind[], onOld: (key: string) => void): Store {
  const byPlural = new Map(kinds.map((kind) => [kind.plural, kind]));
  let fail: (error: Error) => void = () => {};
  const unknown = new Promise<Error>((resolve) => {
    fail = resolve;
  });
  const turn = (key: string, value: string): string => {
    const kind = byPlural.get(pluralOf(key));
    return (kind && turned(kind, key, value)) ?? value;
  };
  const turnEntry = (entry: Entry): Entry => {
    const value = turn(entry.key, entry.value);
    if (value !== entry.value) onOld(entry.key);
    return { ...entry, value };
  };
  const turnChange = (change: Change): Change | undefined => {
    const { key, value, previous } = change;
    try {
      const made = turn(key, value);
      const before = previous === undefined ? undefined : turn(key, previous);
      // Itself, where nothing is to do: what is derived from a change is kept by it.
      if (made === value && before === previous) return change;
      return { ...change, value: made, ...(before === undefined ? {} : { previous: before }) };
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
      return undefined;
    }
  };
  return overlay(inner, {
    failed: Promise.race([inner.failed, unknown]),
    async get(key) {
      const entry = await inner.get(key);
      return entry && turnEntry(entry);
    },
    async range(prefix) {
      const { entries, revision } = await inner.range(prefix);
      return { entries: entries.map(turnEntry), revision };
    },
    async commit(write) {
      const entry = await inner.commit(write);
      return { ...entry, value: turn(write.key, entry.value) };
    },
    watch: (prefix, after, onChange) =>
      inner.watch(prefix, after, (change) => {
        const made = turnChange(change);
        if (made) onChange(made);
      }),
  });
}
