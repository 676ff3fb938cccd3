/**
 * The releases of distributions that images are built of: what each is called, whose tool builds it, where its packages come from and how they are checked. Pure.
 *
 * Of those whose mirrors have been built from, and of those that have not, docs/images.md tells.
 */
import type { Mode, Recipe } from "./recipe.ts";

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
  /** What the kernel is packaged as; where it is a metapackage, what it stands for. */
  kernels: Record<NonNullable<Recipe["kernel"]>, readonly string[]>;
}

/** apt's, besides. */
export interface AptRelease extends Release {
  tool: "apt";
  /** ID of os-release(5). */
  id: string;
  components: string;
  /** Suites that are on a mirror of their own: security updates. */
  apart: readonly { mirror: string; suite: string }[];
}

/** Those of dnf and zypper. */
export interface RpmRelease extends Release {
  tool: "dnf" | "zypper";
  /** Of modules and macros: platform:f43 is called f43. */
  platform: string;
  /** What a system is that has its package manager, init and network. */
  base: readonly string[];
  /** Units that bring the network up. */
  units: readonly string[];
  /** Where rpm keeps what is installed. */
  database: string;
  profiles: { server: readonly string[]; text: readonly string[] };
}

const BOTH: readonly Mode[] = ["slim", "full"];
/** Slim images are made of what packages without their scripts are; RPMs leave users, links and caches to those. */
const FULL: readonly Mode[] = ["full"];

const debian = (versionId: string, release: string): AptRelease => ({
  id: "debian",
  title: `Debian ${versionId} (${release})`,
  versionId,
  tool: "apt",
  modes: BOTH,
  mirror: "http://deb.debian.org/debian",
  parts: [release, `${release}-updates`],
  apart: [{ mirror: "http://deb.debian.org/debian-security", suite: `${release}-security` }],
  components: "main",
  keys: {
    files: ["/usr/share/keyrings/debian-archive-keyring.gpg"],
    from: "debian-archive-keyring",
    at: "https://ftp-master.debian.org/keys.html",
  },
  kernels: { cloud: ["linux-image-cloud-amd64"], generic: ["linux-image-amd64"] },
});

const ubuntu = (versionId: string, release: string): AptRelease => ({
  id: "ubuntu",
  title: `Ubuntu ${versionId} (${release})`,
  versionId,
  tool: "apt",
  modes: BOTH,
  mirror: "http://archive.ubuntu.com/ubuntu",
  parts: [release, `${release}-updates`, `${release}-security`],
  apart: [],
  components: "main universe",
  keys: {
    files: ["/usr/share/keyrings/ubuntu-archive-keyring.gpg"],
    at: "https://keyserver.ubuntu.com/pks/lookup?op=get&search=0xF6ECB3762474EDA9D21B7022871920D1991BC93C",
  },
  kernels: { cloud: ["linux-image-virtual"], generic: ["linux-image-generic"] },
});

/** Of the package distribution-gpg-keys, which Debian 12 has not. */
const KEYS = "/usr/share/distribution-gpg-keys";
const SERVER = ["ca-certificates", "chrony", "logrotate", "openssh-server"];
const TEXT = [
  ...["bash-completion", "bzip2", "curl", "file", "less", "lsof", "man-db", "nano", "procps-ng", "psmisc"],
  ...["tmux", "unzip", "vim-minimal", "wget", "xz"],
];
const profiles = { server: SERVER, text: [...SERVER, ...TEXT] };
const BASE = ["bash", "coreutils", "hostname", "iproute", "kmod", "rpm", "systemd", "util-linux"];
const NETWORKD = ["systemd-networkd.service", "systemd-resolved.service"];

const fedora = (versionId: string): RpmRelease => ({
  title: `Fedora Linux ${versionId}`,
  versionId,
  tool: "dnf",
  modes: FULL,
  mirror: "https://dl.fedoraproject.org/pub/fedora/linux",
  parts: [`releases/${versionId}/Everything/x86_64/os`, `updates/${versionId}/Everything/x86_64`],
  keys: {
    files: [`${KEYS}/fedora/RPM-GPG-KEY-fedora-${versionId}-primary`],
    at: "https://fedoraproject.org/fedora.gpg",
  },
  kernels: {
    cloud: ["kernel-core", "kernel-modules-core"],
    generic: ["kernel-core", "kernel-modules-core", "kernel-modules"],
  },
  platform: `f${versionId}`,
  base: [
    ...BASE,
    "dbus-broker",
    "dnf5",
    "fedora-release",
    "systemd-networkd",
    "systemd-resolved",
    "systemd-udev",
  ],
  units: NETWORKD,
  database: "/usr/lib/sysimage/rpm",
  profiles,
});

const centos = (versionId: string, database: string, key: string): RpmRelease => ({
  title: `CentOS Stream ${versionId}`,
  versionId,
  tool: "dnf",
  modes: FULL,
  mirror: "https://mirror.stream.centos.org",
  parts: ["BaseOS", "AppStream"].map((part) => `${versionId}-stream/${part}/x86_64/os`),
  keys: { files: [`${KEYS}/centos/${key}`], at: `https://www.centos.org/keys/${key}` },
  kernels: {
    cloud: ["kernel-core", "kernel-modules-core"],
    generic: ["kernel-core", "kernel-modules-core", "kernel-modules"],
  },
  platform: `el${versionId}`,
  // systemd-networkd is not among its packages.
  base: [...BASE, "centos-stream-release", "dbus-broker", "dnf", "NetworkManager", "systemd-udev"],
  units: ["NetworkManager.service"],
  database,
  profiles,
});

const OPENSUSE = `${KEYS}/opensuse/RPM-GPG-KEY-openSUSE`;
const opensuse = (
  name: string,
  title: string,
  parts: readonly [string, ...string[]],
  keys: RpmRelease["keys"]["files"],
  network: readonly string[],
): RpmRelease => ({
  title: `openSUSE ${title}`,
  versionId: name.replace(/^leap-/, ""),
  tool: "zypper",
  modes: FULL,
  mirror: "https://download.opensuse.org",
  parts,
  keys: { files: keys, at: `https://download.opensuse.org/${parts[0]}/ (gpg-pubkey-*.asc there)` },
  kernels: { cloud: ["kernel-default-base"], generic: ["kernel-default"] },
  platform: name,
  base: [
    ...BASE.map((each) => (each === "iproute" ? "iproute2" : each)),
    ...["dbus-1", "openSUSE-release", "udev", "zypper", ...network],
  ],
  units: NETWORKD,
  database: "/usr/lib/sysimage/rpm",
  profiles: {
    server: SERVER,
    text: [...SERVER, ...TEXT.map((each) => ({ "procps-ng": "procps", "vim-minimal": "vim" })[each] ?? each)],
  },
});

/** distribution -> release. */
export const RELEASES = {
  debian: { bookworm: debian("12", "bookworm"), trixie: debian("13", "trixie") },
  ubuntu: { noble: ubuntu("24.04", "noble") },
  fedora: { "43": fedora("43"), "42": fedora("42") },
  "centos-stream": {
    "10": centos("10", "/usr/lib/sysimage/rpm", "RPM-GPG-KEY-CentOS-Official-SHA256"),
    "9": centos("9", "/var/lib/rpm", "RPM-GPG-KEY-CentOS-Official"),
  },
  opensuse: {
    "leap-15.6": opensuse(
      "leap-15.6",
      "Leap 15.6",
      [
        "distribution/leap/15.6/repo/oss",
        ...["oss", "sle", "backports"].map((part) => `update/leap/15.6/${part}`),
      ],
      // Packages of SUSE Linux Enterprise and backports are signed with keys of their own.
      [
        ...([`${OPENSUSE}-2022`, OPENSUSE, `${OPENSUSE}-Backports-2023`, `${OPENSUSE}-Backports`] as const),
        ...["SLE-15", "SLE-Main-2023"].map((name) => `${KEYS}/suse/RPM-GPG-KEY-SuSE-${name}`),
      ],
      ["systemd-network"],
    ),
    tumbleweed: opensuse(
      "tumbleweed",
      "Tumbleweed",
      ["tumbleweed/repo/oss", "update/tumbleweed"],
      [`${OPENSUSE}-Tumbleweed`, `${OPENSUSE}-2022`, OPENSUSE],
      ["systemd-networkd", "systemd-resolved"],
    ),
  },
} satisfies Record<string, Record<string, AptRelease | RpmRelease>>;

type Words<T> = T extends unknown ? keyof T & string : never;
export type DistributionName = keyof typeof RELEASES;
export type ReleaseName = Words<(typeof RELEASES)[DistributionName]>;

/** Safe: an object has the keys that its type says, and these are ours. */
export const DISTRIBUTIONS = Object.keys(RELEASES) as DistributionName[];
export const RELEASE_NAMES = DISTRIBUTIONS.flatMap((name) => Object.keys(RELEASES[name])) as ReleaseName[];

/** In the order above. */
export const allReleases = () =>
  DISTRIBUTIONS.flatMap((distribution) =>
    // Safe, as above.
    (Object.keys(RELEASES[distribution]) as ReleaseName[]).map((release) => ({ distribution, release })),
  );

/** Of the Distribution. */
export const distributionName = ({ distribution, release }: Pick<Recipe, "distribution" | "release">) =>
  `${distribution}-${release}`;
export const DISTRIBUTION_NAMES = allReleases().map(distributionName);

const ALL: ReadonlyMap<string, AptRelease | RpmRelease> = new Map(
  DISTRIBUTIONS.flatMap((distribution) =>
    Object.entries(RELEASES[distribution]).map(([name, release]) => [`${distribution} ${name}`, release]),
  ),
);

/** What a recipe or a Distribution names; undefined when the distribution has no such release. */
export const findRelease = ({ distribution, release }: Pick<Recipe, "distribution" | "release">) =>
  ALL.get(`${distribution} ${release}`);

/** @throws Error naming the field, for what checks.ts refuses */
export function releaseOf(recipe: Pick<Recipe, "distribution" | "release">): AptRelease | RpmRelease {
  const found = findRelease(recipe);
  if (!found) throw new Error(`recipe.release: ${recipe.distribution} has no release ${recipe.release}`);
  return found;
}

/** By the name that its suites have: no two of Debian and Ubuntu share one. @throws Error */
export function aptRelease(codename: string): AptRelease {
  const all: Readonly<Record<string, AptRelease>> = { ...RELEASES.debian, ...RELEASES.ubuntu };
  const found = all[codename];
  if (!found) throw new Error(`there is no release ${codename}; there are ${Object.keys(all).join(", ")}`);
  return found;
}

/** Why packages cannot be checked, and how they could be. Pure. */
export const withoutKeys = ({ keys: { files, from, at }, title }: Pick<Release, "keys" | "title">) =>
  `the keys of ${title} (${files.join(" or ")}) are not on the control plane's machine, so its packages cannot be checked; ${
    from ? `install ${from}, or` : "no package of Debian 12 has them:"
  } give them as recipe.mirror.key, in ASCII armor (they are at ${at}), or put them there`;

/** Why there is no such mode for its images, for users. Pure. */
export const withoutMode = ({ title, modes }: Pick<Release, "title" | "modes">) =>
  `images of ${title} are ${modes.join(" or ")}: its packages leave users, links and caches to their scripts, which slim images do not run`;

/** Why nobody can pick of its packages, for users. @param name of its Distribution. Pure. */
export const withoutPicker = (name: string) =>
  `packages of ${name} cannot be picked here: their names are looked at when an image of them is built`;

export const isRpm = (release: AptRelease | RpmRelease): release is RpmRelease => release.tool !== "apt";
