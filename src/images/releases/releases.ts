/**
 * The releases of distributions that images are built of, and the ways to find one. One more release is one more entry here. Pure.
 *
 * Of those whose mirrors have been built from, and of those that have not, docs/images.md tells.
 */
import { debian, ubuntu } from "./apt.ts";
import { type AptRelease, isRpm, type RpmRelease } from "./release.ts";
import { centos, fedora, leap, tumbleweed } from "./rpm.ts";

/** distribution -> release. */
export const RELEASES = {
  debian: {
    bookworm: debian("12", "bookworm", {
      languages: { python: "3.11", perl: "5.36.0", ruby: "3.1.0", java: 17 },
      repacks: true,
    }),
    trixie: debian("13", "trixie"),
  },
  ubuntu: { noble: ubuntu("24.04", "noble") },
  fedora: { "43": fedora("43"), "42": fedora("42") },
  "centos-stream": {
    "10": centos("10", "/usr/lib/sysimage/rpm", "RPM-GPG-KEY-CentOS-Official-SHA256"),
    "9": centos("9", "/var/lib/rpm", "RPM-GPG-KEY-CentOS-Official"),
  },
  opensuse: { "leap-15.6": leap("15.6"), tumbleweed },
} satisfies Record<string, Record<string, AptRelease | RpmRelease>>;

type Words<T> = T extends unknown ? keyof T & string : never;
export type DistributionName = keyof typeof RELEASES;
export type ReleaseName = Words<(typeof RELEASES)[DistributionName]>;

/** What a recipe, or a Distribution, names. */
export interface System {
  distribution: DistributionName;
  release: ReleaseName;
}

/** Whose boot loaders and busybox images of RPMs have: there they are the same for all of them. */
export const BOOTS = { distribution: "debian", release: "bookworm" } as const satisfies System;

/** Safe: an object has the keys that its type says, and these are ours. */
export const DISTRIBUTIONS = Object.keys(RELEASES) as DistributionName[];
export const RELEASE_NAMES = DISTRIBUTIONS.flatMap((name) => Object.keys(RELEASES[name])) as ReleaseName[];

/** In the order above. */
export const allReleases = (): System[] =>
  DISTRIBUTIONS.flatMap((distribution) =>
    // Safe, as above.
    (Object.keys(RELEASES[distribution]) as ReleaseName[]).map((release) => ({ distribution, release })),
  );

/** Of the Distribution. */
export const distributionName = ({ distribution, release }: System) => `${distribution}-${release}`;
export const DISTRIBUTION_NAMES = allReleases().map(distributionName);

const ALL: ReadonlyMap<string, AptRelease | RpmRelease> = new Map(
  DISTRIBUTIONS.flatMap((distribution) =>
    Object.entries(RELEASES[distribution]).map(([name, release]) => [`${distribution} ${name}`, release]),
  ),
);

/** Undefined when the distribution has no such release. */
export const findRelease = ({ distribution, release }: { distribution: string; release: string }) =>
  ALL.get(`${distribution} ${release}`);

/** @throws Error naming the field, for what checks.ts refuses */
export function releaseOf(system: System): AptRelease | RpmRelease {
  const found = findRelease(system);
  if (!found) throw new Error(`recipe.release: ${system.distribution} has no release ${system.release}`);
  return found;
}

/** By the name that its suites have: no two of Debian and Ubuntu share one. @throws Error */
export function aptRelease(codename: string): AptRelease {
  const all = [...ALL.values()].filter((release) => !isRpm(release));
  const found = all.find(({ parts }) => parts[0] === codename);
  if (!found)
    throw new Error(
      `there is no release ${codename}; there are ${all.map(({ parts }) => parts[0]).join(", ")}`,
    );
  return found;
}
