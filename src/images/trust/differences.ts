/** What is other in one build than in another: packages, and sizes of files. Pure. */
import { compareVersions } from "../packages/version.ts";

export interface PackageChange {
  name: string;
  before?: string;
  after?: string;
  what: "added" | "removed" | "newer" | "older" | "other file";
}

type Packages = readonly { name: string; version: string; sha256?: string }[];

/** Kernels have their version in their name: one takes the place of another. */
const nameOf = (name: string) => name.replace(/^(linux-image-)\d[\d.-]*-(?=[a-z])/, "$1");

export function comparePackages(before: Packages, after: Packages): PackageChange[] {
  const [old, now] = [before, after].map((all) => new Map(all.map((each) => [nameOf(each.name), each])));
  const changes: PackageChange[] = [];
  for (const [key, { name, version, sha256 }] of now ?? []) {
    const was = old?.get(key);
    if (!was) changes.push({ name, after: version, what: "added" });
    else if (was.version !== version) {
      const what = compareVersions(was.version, version) < 0 ? "newer" : "older";
      changes.push({ name, before: was.version, after: version, what });
    } else if (was.sha256 !== sha256)
      changes.push({ name, before: version, after: version, what: "other file" });
  }
  for (const [key, { name, version }] of old ?? [])
    if (!now?.has(key)) changes.push({ name, before: version, what: "removed" });
  return changes.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Of how many it tells one by one. */
const TOLD = 10;

/** In words: "openssl 3.0.15-1 -> 3.0.16-1, curl added". */
export function toldChanges(changes: readonly PackageChange[]): string {
  const all = changes
    .slice(0, TOLD)
    .map(({ name, before, after, what }) =>
      before !== undefined && after !== undefined && before !== after
        ? `${name} ${before} -> ${after}`
        : `${name} ${what}`,
    );
  const more = changes.length - all.length;
  return `${all.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
