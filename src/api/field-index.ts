/** Which objects have a value in a field: what the agents of thousands of hosts ask for, each its own few of very many. */
import type { Cached } from "./cache.ts";
import { type Equality, fieldAt } from "./selectors.ts";

type ByValue = Map<string, Map<string, Cached>>;

/** Over a collection: a field is indexed when it is asked for first, and kept up by `add` and `delete`. */
export class FieldIndexes {
  /** By path: of the few fields and labels that a kind is indexed by (equalityOf). */
  readonly #fields = new Map<string, { path: readonly string[]; byValue: ByValue }>();

  add(entry: Cached): void {
    for (const { path, byValue } of this.#fields.values()) put(byValue, path, entry);
  }

  delete({ key, object }: Cached): void {
    for (const { path, byValue } of this.#fields.values()) {
      const value = fieldAt(object, path);
      const having = byValue.get(value);
      having?.delete(key);
      if (having?.size === 0) byValue.delete(value);
    }
  }

  /** Those that have the value, in the order of their keys. @param all of the collection, for a field that is not indexed yet */
  find({ path, value }: Equality, all: Iterable<Cached>): readonly Cached[] {
    const name = path.join("\0");
    let field = this.#fields.get(name);
    if (!field) {
      field = { path, byValue: new Map() };
      this.#fields.set(name, field);
      for (const entry of all) put(field.byValue, path, entry);
    }
    return [...(field.byValue.get(value)?.values() ?? [])].sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

function put(byValue: ByValue, path: readonly string[], entry: Cached): void {
  const value = fieldAt(entry.object, path);
  const having = byValue.get(value) ?? new Map<string, Cached>();
  having.set(entry.key, entry);
  byValue.set(value, having);
}
