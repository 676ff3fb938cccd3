/** An index over an informer: the objects that have a key, without scanning all of them. */
import { keyOf, type Resource } from "../resource/object.ts";
import type { Informer } from "./informer.ts";

export class Index<T extends Resource> {
  readonly #sets = new Map<string, Map<string, T>>();

  /** `keysOf` says under which keys an object is found. Make it before the informer runs. */
  constructor(informer: Informer<T>, keysOf: (object: T) => readonly string[]) {
    const remove = (object: T) => {
      for (const key of keysOf(object)) {
        const set = this.#sets.get(key);
        set?.delete(keyOf(object));
        if (set?.size === 0) this.#sets.delete(key);
      }
    };
    const add = (object: T) => {
      for (const key of keysOf(object)) {
        const set = this.#sets.get(key) ?? new Map<string, T>();
        set.set(keyOf(object), object);
        this.#sets.set(key, set);
      }
    };
    for (const object of informer.list()) add(object);
    informer.onChange((_key, object, old) => {
      if (old) remove(old);
      if (object) add(object);
    });
  }

  get(key: string): readonly T[] {
    return [...(this.#sets.get(key)?.values() ?? [])];
  }
}
