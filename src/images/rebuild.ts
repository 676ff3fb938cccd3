/**
 * When an image is built anew by itself: `spec.rebuildHours` after its newest build was over. A build of the same packages makes the same file and is over in a moment, so an
 * image changes only when its packages have. With a lock they never do. Pure.
 */
import type { Image, ImageBuild } from "./kinds.ts";

const HOUR_MS = 3600_000;

/**
 * @param builds of the image's recipe, the newest first
 * @returns in how many ms, 0 for now; undefined for never, or not before the build that is under way is over
 */
export function rebuildInMs({ spec }: Image, builds: readonly ImageBuild[], now: Date): number | undefined {
  const [newest] = builds;
  if (spec.rebuildHours === undefined || spec.recipe?.lock || !newest) return undefined;
  const finished = Date.parse(newest.status?.finishedTime ?? "");
  if (Number.isNaN(finished)) return undefined;
  return Math.max(0, finished + spec.rebuildHours * HOUR_MS - now.getTime());
}
