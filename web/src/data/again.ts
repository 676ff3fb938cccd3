/** How it goes on when a watch has ended. Pure. */

export interface Ended {
  /** The connection came about. */
  opened: boolean;
  /** The server closed it as it does after its time. */
  orderly: boolean;
  /** What the server told instead of events: that the revision is too old to go on from, or that it cannot just now. */
  error: "expired" | "other" | undefined;
}

/** @param failures one after the other, so far @returns how many now, whether all is listed anew, and whether to wait before */
export function afterWatch(
  failures: number,
  { opened, orderly, error }: Ended,
): { failures: number; anew: boolean; wait: boolean } {
  if (opened && !error) return { failures: 0, anew: false, wait: !orderly };
  const now = failures + 1;
  const expired = error === "expired";
  // A server that refuses whatever it is asked is not asked for long lists in a loop.
  return { failures: now, anew: expired || now >= 2, wait: !expired || now >= 2 };
}
