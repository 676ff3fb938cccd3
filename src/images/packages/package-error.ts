/** Why packages are not to be had, for users. */
export class PackageError extends Error {}

/** Packages that the sources do not have, or have no more. */
export class DroppedError extends PackageError {
  /** @param packages "NAME VERSION" @param sources where they were looked for: URLs @param snapshot a mirror of a past day, if there is one */
  constructor(
    packages: readonly string[],
    sources: readonly string[],
    { snapshot, cause }: { snapshot?: string; cause?: unknown } = {},
  ) {
    const and = new Intl.ListFormat("en-GB");
    const shown = packages.slice(0, MOST_SHOWN);
    const more = packages.length - shown.length;
    super(
      `${and.format([...shown, ...(more > 0 ? [`${more} more`] : [])])} ${packages.length === 1 ? "is" : "are"} not there, or no longer, at ${and.format(sources)}; name a mirror that has ${packages.length === 1 ? "it" : "them"} in recipe.mirror.uri${snapshot ? `, such as ${snapshot} of that time` : ""}, or make the lock anew`,
      { cause },
    );
  }
}
const MOST_SHOWN = 10;
