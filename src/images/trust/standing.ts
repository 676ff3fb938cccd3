/**
 * How an image stands to those who have to trust it, and what cannot be said of it and why: each to be said after "it" or the image's name. Pure, and without the
 * kind's schema: the web UI says it, too.
 */
import { getCondition } from "../../resource/object.ts";
import type { Image, ImageBuild } from "../kinds.ts";
import type { LockedPackage } from "../recipe.ts";
import { releaseOf } from "../releases/releases.ts";
import type { InstalledPackage, Report } from "./vulnerabilities.ts";

type Packages = NonNullable<NonNullable<Image["status"]>["packages"]>;
type Artifacts = NonNullable<Image["status"]>["artifacts"];

const OLDER = "was built by an older Vireo";
const AGAIN = "build it again";

/** "Building: packages", "Failed: no such package". */
export function describeImage({ status = {} }: Pick<Image, "status">): string {
  const { phase = "Pending", progress, conditions } = status;
  if (phase === "Failed") return `Failed: ${getCondition(conditions, "Ready")?.message ?? "no reason given"}`;
  return phase === "Building" && progress ? `Building: ${progress}` : phase;
}

/** Why nothing can be said of it that is said of what a recipe has made. */
export function whyNotBuilt(image: Image): string | undefined {
  const { metadata, spec, status } = image;
  if (!spec.recipe) return "is a file that was brought along, not built from a recipe";
  if (status?.phase !== "Ready") return `is not built yet: ${describeImage(image)}`;
  // What status says is of the recipe before.
  return status.observedGeneration === metadata.generation
    ? undefined
    : "was changed, and is not what its recipe says yet";
}

/** The installation's signature, if there is one; whether it is good, and all files are those that were signed, tells a check. */
export const signatureOf = (artifacts: Artifacts) => artifacts?.find(({ format }) => format === "signature");
export const UNSIGNED = `has no signature: it ${OLDER}; ${AGAIN}`;

/** All packages by version and digest, of which it can be built again, bit for bit; undefined: not all digests are known. */
export function lockOf(packages: Packages): LockedPackage[] | undefined {
  const lock = packages.flatMap(({ name, version, arch, sha256 }) =>
    sha256 ? [{ name, version, ...(arch ? { arch } : {}), sha256 }] : [],
  );
  return lock.length > 0 && lock.length === packages.length ? lock : undefined;
}
export const UNLOCKED = `${OLDER}, which kept no digests of packages; ${AGAIN}`;

/** The newest check of what it is now, bit for bit, over or under way; those before were of earlier versions. @param builds of it, the newest first */
export function lastCheck({ status }: Image, builds: readonly ImageBuild[]): ImageBuild | undefined {
  const { createdTime } = status?.versions?.find(({ version }) => version === status.version) ?? {};
  // Objects tell when they were made in whole seconds.
  const since = Math.floor((Date.parse(createdTime ?? "") || 0) / 1000) * 1000;
  return builds.find(
    ({ metadata, spec }) => spec.verify && Date.parse(metadata.creationTimestamp ?? "") >= since,
  );
}

/** Why its packages cannot be compared with lists of vulnerabilities. */
export function whyNotCompared({ spec, status }: Image): string | undefined {
  const { recipe } = spec;
  // Other distributions count versions and mended ones in their own way.
  if (recipe && recipe.distribution !== "debian")
    return `is of ${releaseOf(recipe).title}: known vulnerabilities are compared for images of Debian alone`;
  // Lists name sources: of a package without one it would not be known whether the source is called as it is.
  return status?.artifacts?.some(({ format }) => format === "files")
    ? undefined
    : `${OLDER}, which did not keep what its packages were built from; ${AGAIN}`;
}

/** To be compared. */
export const installedOf = (packages: Packages): InstalledPackage[] =>
  packages.map(({ name, version, source }) => ({ name, version, source: source ?? { name, version } }));

export interface Compared {
  /** "2 known vulnerabilities in 1 of 30 packages; 40 entries of LIST are about its packages" */
  words: string;
  /** How many of them newer packages mend. */
  mended: number;
  /** Why the list says nothing of the image at all, to be said after the list's name. */
  nothing?: string;
  /** Bad: newer packages mend some. */
  tone: "ok" | "warn" | "bad";
}

/** @param of the image, as it is to be called. @param from the list's name */
export function describeReport(
  { found, unimportant, checked }: Report,
  of: { name: string; release: string; packages: number },
  from: string,
): Compared {
  const words = [
    `${new Set(found.map(({ id }) => id)).size} known vulnerabilities in ${new Set(found.map((each) => each.package)).size} of ${of.packages} packages`,
    ...(unimportant > 0 ? [`${unimportant} unimportant ones are left out`] : []),
    `${checked} entries of ${from} are about its packages`,
  ];
  const mended = found.filter(({ fixed }) => fixed !== undefined).length;
  const told = { words: words.join("; "), mended };
  if (checked === 0)
    return {
      ...told,
      nothing: `has nothing about the packages of ${of.name}, which are of ${of.release}: is it a list of that release?`,
      tone: "warn",
    };
  return { ...told, tone: mended > 0 ? "bad" : found.length > 0 ? "warn" : "ok" };
}
