/** Whether what was asked for is what there is: names of packages, and what a lock says of them; the same for every distribution. */
import type { LockedPackage } from "../recipe.ts";
import { nearest } from "./nearest.ts";
import { DroppedError, PackageError } from "./package-error.ts";

/**
 * Tools take what is no package's name for more: patterns, removals, files. So they are only given names of packages.
 * @param told of those that the recipe asks for otherwise: name -> why there is none, for users @throws PackageError with what may have been meant
 */
export function requireNames(
  names: readonly string[],
  known: ReadonlySet<string>,
  told: ReadonlyMap<string, string> = new Map(),
): void {
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  const parts = unknown.map((name) => {
    const why = told.get(name);
    if (why !== undefined) return why;
    const near = nearest(name, [...known]);
    return `there is no package "${name}"${near.length ? `; did you mean ${near.map((n) => `"${n}"`).join(" or ")}?` : ""}`;
  });
  throw new PackageError(parts.join("; "));
}

/**
 * Downloads what a lock names. @param wordsOf of the download's error, for users
 * @throws PackageError for a package that is not to be had, or is another file than the lock says, or the signal's reason
 */
export async function fetchAsLocked<
  P extends { name: string; version: string; file: string; sha256: string },
>(
  lock: readonly LockedPackage[],
  download: () => Promise<P[]>,
  signal: AbortSignal | undefined,
  wordsOf: (message: string) => string | undefined = (message) => message,
): Promise<P[]> {
  const found = await download().catch((cause: unknown) => {
    signal?.throwIfAborted();
    const isTold = cause instanceof DroppedError;
    const said = isTold ? cause.message : cause instanceof Error ? wordsOf(cause.message) : String(cause);
    throw new PackageError(
      `recipe.lock: not all of its packages are to be had: ${said}; without recipe.lock the image is built from today's`,
      { cause },
    );
  });
  for (const [i, { name, version, file, sha256 }] of found.entries())
    if (sha256 !== lock[i]?.sha256)
      throw new PackageError(
        `recipe.lock: ${name} ${version} has the sha256 ${sha256} (${file}), the lock says ${lock[i]?.sha256}`,
      );
  return found;
}
