/** Where apt has packages of a release from, and what it says when it has not. Pure. */
import { PackageError } from "./package-error.ts";

/** Of the package debian-archive-keyring. */
export const DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg";

/**
 * The sources.list of a Debian release; undefined where the host's own are of that release. Pure.
 * @throws PackageError when there is nothing to check Debian's signatures with
 */
export function sourcesFor(release: string, osRelease: string, hasKeys: boolean): string | undefined {
  const value = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(osRelease)?.[1];
  if (value("ID") === "debian" && value("VERSION_CODENAME") === release) return undefined;
  if (!hasKeys)
    throw new PackageError(
      `Debian's keys (${DEBIAN_KEYS}) are not on this host, so packages of ${release} cannot be checked; install debian-archive-keyring`,
    );
  const suites = [
    ["http://deb.debian.org/debian", release],
    ["http://deb.debian.org/debian", `${release}-updates`],
    ["http://deb.debian.org/debian-security", `${release}-security`],
  ];
  return suites
    .map(([url, suite]) => `deb [arch=amd64 signed-by=${DEBIAN_KEYS}] ${url} ${suite} main\n`)
    .join("");
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
