/**
 * Who follows changes. Of thousands of agents each wants those of its own few objects, by one value of a field (spec.host=…): they are found by that value, so
 * that a change does not ask all of them. Kubernetes' watch cache calls it triggers.
 */
import type { Change } from "../store/store.ts";
import { objectOf, previousOf } from "./changed-objects.ts";
import { type Equality, fieldAt } from "./selectors.ts";

export interface Follower {
  /** Of the keys that it wants. */
  prefix: string;
  /** What a change must have, before or after it; absent: any. */
  equality: Equality | undefined;
  onChange: (change: Change) => void;
}

interface ByValue {
  path: readonly string[];
  values: Map<string, Set<Follower>>;
}

export class Followers {
  readonly #ofAll = new Set<Follower>();
  readonly #byPath = new Map<string, ByValue>();

  add(follower: Follower): void {
    if (!follower.equality) return void this.#ofAll.add(follower);
    const { path, value } = follower.equality;
    const field = this.#byPath.get(nameOf(path)) ?? { path, values: new Map<string, Set<Follower>>() };
    this.#byPath.set(nameOf(path), field);
    const those = field.values.get(value) ?? new Set();
    field.values.set(value, those.add(follower));
  }

  delete(follower: Follower): void {
    if (!follower.equality) return void this.#ofAll.delete(follower);
    const { path, value } = follower.equality;
    const field = this.#byPath.get(nameOf(path));
    const those = field?.values.get(value);
    those?.delete(follower);
    if (those?.size === 0) field?.values.delete(value);
    if (field?.values.size === 0) this.#byPath.delete(nameOf(path));
  }

  tell(change: Change): void {
    const hand = ({ prefix, onChange }: Follower) => {
      if (change.key.startsWith(prefix)) onChange(change);
    };
    this.#ofAll.forEach(hand);
    for (const { path, values } of this.#byPath.values()) {
      const [object, previous] = [objectOf(change), previousOf(change)];
      const now = fieldAt(object, path);
      const before = previous ? fieldAt(previous, path) : now;
      values.get(now)?.forEach(hand);
      if (before !== now) values.get(before)?.forEach(hand);
    }
  }
}

const nameOf = (path: readonly string[]) => path.join("\0");
