/** Whether the store takes writes: told when that changes, to the log and to whoever asks whether all is well. */
import { overlay } from "./overlay.ts";
import { NotWritten, type Store } from "./store.ts";

/** @param tell what is wrong since now, for users; undefined: nothing any more. @returns the store, and what is wrong now */
export function watchedStore(
  inner: Store,
  tell: (why: string | undefined) => void,
): { store: Store; trouble: () => string | undefined } {
  let trouble: string | undefined;
  const change = (why: string | undefined) => {
    if (why === trouble) return;
    trouble = why;
    tell(why);
  };
  const store = overlay(inner, {
    async commit(write) {
      try {
        const entry = await inner.commit(write);
        change(undefined);
        return entry;
      } catch (error) {
        if (error instanceof NotWritten) change(error.message);
        throw error;
      }
    },
  });
  return { store, trouble: () => trouble };
}
