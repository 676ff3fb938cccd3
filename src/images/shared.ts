/** What the server, the command line and pages in a browser agree about in recipes, without anything of Node. Pure. */
import { desktopOf, type KERNELS, type Mode, type PROFILES } from "./releases/release.ts";

/** What a recipe is of that does not say so. */
export const DEFAULT_RELEASE = { distribution: "debian", release: "bookworm" } as const;

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

/** Of an archive of a recipe. */
export const MAX_ARCHIVE_BYTES = 4 * 2 ** 30;
export const MAX_ARCHIVE_MEMBERS = 200_000;
