/**
 * The same asked for each of many objects. A few at a time: of thousands of requests at once a browser fails most for want of resources. One that
 * fails does not keep the others from being asked. Pure.
 */
import { messageOf } from "./api.ts";

export const AT_ONCE = 20;
/** So many of those that failed are named: usually the others failed for the same reason. */
const NAMED = 3;

/**
 * @param tell how many have been asked, well or not @param signal no more are asked once it is aborted
 * @returns how many were asked @throws when some failed, how many and the first of them with their reasons
 */
export async function forEachOf<T extends { metadata: { name: string } }>(
  items: readonly T[],
  what: (item: T) => Promise<unknown>,
  tell: (done: number) => void = () => {},
  signal?: AbortSignal,
): Promise<number> {
  const failed: string[] = [];
  // All take from the same.
  const left = items.values();
  let done = 0;
  const work = async () => {
    for (const item of left) {
      if (signal?.aborted) return;
      try {
        await what(item);
      } catch (error) {
        failed.push(`${item.metadata.name}: ${messageOf(error)}`);
      }
      tell(++done);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (failed.length === 0) return done;
  const named = failed.slice(0, NAMED).join("; ");
  const others = failed.length > NAMED ? `; and ${failed.length - NAMED} more` : "";
  const stopped = done < items.length ? `; the other ${items.length - done} were not asked` : "";
  throw new Error(
    items.length === 1 ? named : `${failed.length} of ${done} failed: ${named}${others}${stopped}`,
  );
}
