/** What the server, the command line and pages in a browser agree about in recipes, without anything of Node. Pure. */
import { desktopOf, type KERNELS, type Mode, type PROFILES } from "./releases/release.ts";

/** What a recipe is of that does not say so. */
export const DEFAULT_RELEASE = { distribution: "debian", release: "bookworm" } as const;

/** What a recipe's machine is started by, and where its files are. */
export const BOOTS = ["direct", "bios", "uefi", "both"] as const;
export const ROOTS = ["ext4", "squashfs", "erofs", "ram"] as const;

/** Desktops have a screen, for which the small kernel has no driver. */
export const kernelOf = (recipe: {
  kernel?: (typeof KERNELS)[number];
  profile?: (typeof PROFILES)[number];
}): (typeof KERNELS)[number] => recipe.kernel ?? (desktopOf(recipe.profile) ? "generic" : "cloud");

/** Conditions of Distributions: of each mode, whether images are built in it. */
export const BUILDABLE = { slim: "SlimBuildable", full: "FullBuildable" } as const satisfies Record<
  Mode,
  string
>;
/** All conditions of Distributions. */
export type Ability = (typeof BUILDABLE)[Mode] | "KeysAvailable" | "PickerAvailable";

interface Named {
  metadata: { name: string };
}
/** The number at the end of a build's name; what looks like the day or time that others name theirs by is none. */
export const buildNumber = ({ metadata }: Named): number =>
  Number(/-(\d{1,5})$/.exec(metadata.name)?.[1] ?? 0);

/** Of an image's next build. @param builds those that it has */
export const nextNumber = (builds: readonly Named[]): number => Math.max(0, ...builds.map(buildNumber)) + 1;

const LONGEST_NAME = 63;

/** web-1, web-2, …; of a long name its beginning. */
export function buildName(image: string, number: number): string {
  const end = `-${number}`;
  return `${image.slice(0, LONGEST_NAME - end.length).replace(/[.-]+$/, "")}${end}`;
}

export const isBuildOver = ({ status }: { status?: { phase?: string } }): boolean =>
  ["Succeeded", "Failed", "Cancelled"].includes(status?.phase ?? "");

/** Of an archive of a recipe. */
export const MAX_ARCHIVE_BYTES = 4 * 2 ** 30;
export const MAX_ARCHIVE_MEMBERS = 200_000;
