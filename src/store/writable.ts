/** Whether the store takes writes: told when that changes, to the log and to whoever asks whether all is well. */
import { overlay } from "./overlay.ts";
import { NotWritten, type Store, WritesForbidden } from "./store.ts";

/**
 * @param tell what is wrong since now, for users; undefined: nothing any more.
 * @param blocked why nothing may be written now although the store itself could: it is not told as the store's trouble
 * @returns the store, and what is wrong now
 */
export function writableStore(
  inner: Store,
  tell: (why: string | undefined) => void,
  blocked: () => string | undefined = () => undefined,
): { store: Store; trouble: () => string | undefined } {
  let trouble: string | undefined;
  const change = (why: string | undefined) => {
    if (why === trouble) return;
    trouble = why;
    tell(why);
  };
  const looked = async <T>(write: Promise<T>): Promise<T> => {
    try {
      const done = await write;
      change(undefined);
      return done;
    } catch (error) {
      if (error instanceof NotWritten) change(error.message);
      throw error;
    }
  };
  const store = overlay(inner, {
    commit: (write) => {
      const why = blocked();
      return why === undefined ? looked(inner.commit(write)) : Promise.reject(new WritesForbidden(why));
    },
    compact: (revision) => looked(inner.compact(revision)),
  });
  return { store, trouble: () => trouble };
}
