/** What there is to say of a release of a distribution: all that images of it have otherwise than those of another release. Pure. */

/** The choices of a recipe that each release answers in its own way. */
export const MODES = ["slim", "full"] as const;
export type Mode = (typeof MODES)[number];
export const KERNELS = ["cloud", "generic"] as const;
const TERMINALS = ["minimal", "server", "text"] as const;
export const DESKTOPS = ["gnome", "kde"] as const;
export type Desktop = (typeof DESKTOPS)[number];
export const PROFILES = [...TERMINALS, ...DESKTOPS] as const;
type Profile = (typeof PROFILES)[number];

/** Undefined: one without a desktop. */
export const desktopOf = (profile: Profile | undefined): Desktop | undefined =>
  DESKTOPS.find((each) => each === profile);

/** Which tool resolves and installs its packages. */
export type Tool = "apt" | "dnf" | "zypper";

export interface Release {
  /** For people. */
  title: string;
  /** VERSION_ID of os-release(5). */
  versionId: string;
  tool: Tool;
  modes: readonly Mode[];
  /** Its usual mirror. */
  mirror: string;
  /** Below the mirror: of apt the suites, of the others folders with repodata/ in them. */
  parts: readonly string[];
  /** Who signs its packages. */
  keys: {
    /** Of a system with them: each that is there counts. */
    files: readonly [string, ...string[]];
    /** The package of Debian 12 that brings them, if any. */
    from?: string;
    /** Where the distribution has them. */
    at: string;
  };
  /** Of its packages, in lists of them: their supplier in SPDX, and their namespace in package URLs (https://github.com/package-url/purl-spec). */
  supplier: string;
  namespace: string;
  /** What the kernel is packaged as; where it is a metapackage, what it stands for. */
  kernels: Record<(typeof KERNELS)[number], readonly string[]>;
  /** Names of its packages that are kernels. */
  kernelNames: RegExp;
  /** Modules that its small kernel needs for ext4; none where it is built in. */
  ext4: readonly string[];
  /** Of a full image: what it has besides what each system has, and what its profiles add. */
  base: readonly string[];
  profiles: Record<(typeof TERMINALS)[number], readonly string[]> &
    Partial<Record<Desktop, readonly string[]>>;
  /** Units that bring the network up in a full image. */
  units: readonly string[];
  /** The package with the locales of a language ("de"), and that with the time zones. */
  locales: (language: string) => string;
  timeZones: string;
}

/** apt's, besides. */
export interface AptRelease extends Release {
  tool: "apt";
  /** Its small kernel can be packed into the file of the one for all hardware (boot/repack-kernel.ts). */
  repacks?: boolean;
  /** ID and NAME of os-release(5): slim images may have no package that brings it. */
  id: string;
  name: string;
  components: string;
  /** Where its mirror is to be had as it was on a day, for users. */
  snapshot?: string;
  /** Suites that are on a mirror of their own: security updates. */
  apart: readonly { mirror: string; suite: string }[];
  /** Of those that applications can be analyzed for. */
  languages?: LanguageVersions;
}

/** Versions of languages: their folders have them in their names. */
export interface LanguageVersions {
  python: string;
  perl: string;
  ruby: string;
  java: number;
}

/** Those of dnf and zypper. */
export interface RpmRelease extends Release {
  tool: "dnf" | "zypper";
  /** Of modules and macros: platform:f43 is called f43. */
  platform: string;
  /** Where rpm keeps what is installed. */
  database: string;
}

export const isRpm = (release: AptRelease | RpmRelease): release is RpmRelease => release.tool !== "apt";

/** Why packages cannot be checked, and how they could be. */
export const withoutKeys = ({ keys: { files, from, at }, title }: Pick<Release, "keys" | "title">) =>
  `the keys of ${title} (${files.join(" or ")}) are not on the control plane's machine, so its packages cannot be checked; ${
    from ? `install ${from}, or` : "no package of Debian 12 has them:"
  } give them as recipe.mirror.key, in ASCII armor (they are at ${at}), or put them there`;

/** Why there is no such mode for its images, for users. */
export const withoutMode = ({ title, modes }: Pick<Release, "title" | "modes">) =>
  `images of ${title} are ${modes.join(" or ")}: its packages leave users, links and caches to their scripts, which slim images do not run`;

/** Why it has no such desktop, for users. */
export const withoutDesktop = ({ title }: Pick<Release, "title">, desktop: Desktop) =>
  `Vireo knows the packages of ${desktop} in Debian and Ubuntu, not those of ${title}; name them in spec.recipe.packages, with kernel: generic`;

/** Why nobody can pick of its packages, for users. @param name of its Distribution */
export const withoutPicker = (name: string) =>
  `packages of ${name} cannot be picked here: their names are looked at when an image of them is built`;

/** On all of them but CentOS Stream, whose packages have it not. */
export const NETWORKD: readonly string[] = ["systemd-networkd.service", "systemd-resolved.service"];
