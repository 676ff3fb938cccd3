/** Where apt has packages of a release from, and what it says when it has not. Pure. */
import type { Mirror } from "../recipe-parts.ts";
import { type AptRelease, withoutKeys } from "../releases/release.ts";
import { PackageError } from "./package-error.ts";

/** The suites of a release, each with its mirror. Pure. */
export const aptSources = ({
  mirror,
  parts,
  apart,
}: AptRelease): readonly { mirror: string; suite: string }[] => [
  ...parts.map((suite) => ({ mirror, suite })),
  ...apart,
];

/**
 * The sources.list of a release; undefined where the host's own are of that release. Pure.
 * @param keys path of the keys that it has to be signed with
 */
export function sourcesFor(
  release: AptRelease,
  { osRelease, mirror, keys }: { osRelease: string; mirror?: Mirror | undefined; keys: string },
): string | undefined {
  const value = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(osRelease)?.[1];
  if (!mirror && value("ID") === release.id && value("VERSION_CODENAME") === release.parts[0])
    return undefined;
  return aptSources({ ...release, ...(mirror?.uri ? { mirror: mirror.uri } : {}) })
    .map(
      (source) =>
        `deb [arch=amd64 signed-by=${keys}] ${source.mirror} ${source.suite} ${release.components}\n`,
    )
    .join("");
}

/** @throws PackageError when there is nothing to check signatures with */
export function requireKeys(release: Pick<AptRelease, "keys" | "title">, hasKeys: boolean): void {
  if (!hasKeys) throw new PackageError(withoutKeys(release));
}

/** What sources.list may call a release, too. */
const ALIASES = ["stable", "oldstable", "oldoldstable", "testing"];

/** Whether all that apt-get update says it could not fetch is of other suites than the release and its updates. Pure. */
export function onlyOthersFailed(said: string, release: string): boolean {
  const failed = [...said.matchAll(/Failed to fetch (\S+)/g)].map(([, url = ""]) => url);
  const errors = said.match(/E: (?!Some index files failed)/g) ?? [];
  const own = new RegExp(`/dists/(${[release, ...ALIASES].join("|")})(-[a-z-]+)?/`);
  return failed.length > 0 && failed.length === errors.length && !failed.some((url) => own.test(url));
}
