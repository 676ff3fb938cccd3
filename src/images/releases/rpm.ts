/** Releases of Fedora, CentOS Stream and openSUSE. Pure. */
import { NETWORKD, type RpmRelease } from "./release.ts";

/** Of the package distribution-gpg-keys, which Debian 12 has not. */
const KEYS = "/usr/share/distribution-gpg-keys";
const BASE = ["bash", "coreutils", "hostname", "iproute", "kmod", "rpm", "systemd", "util-linux"];
const SERVER = ["ca-certificates", "chrony", "logrotate", "openssh-server"];
const TEXT = [
  ...["bash-completion", "bzip2", "curl", "file", "less", "lsof", "man-db", "nano", "procps-ng", "psmisc"],
  ...["tmux", "unzip", "vim-minimal", "wget", "xz"],
];

const COMMON = {
  // Slim images are made of what packages without their scripts are; RPMs leave users, links and caches to those.
  modes: ["full"],
  kernelNames: /^kernel(-core|-modules.*|-default.*)?$/,
  ext4: ["crc32c_generic", "ext4"],
} as const satisfies Partial<RpmRelease>;

/** Fedora's, and those made of it. */
const DNF = {
  ...COMMON,
  tool: "dnf",
  kernels: {
    cloud: ["kernel-core", "kernel-modules-core"],
    generic: ["kernel-core", "kernel-modules-core", "kernel-modules"],
  },
  profiles: { minimal: [], server: SERVER, text: [...SERVER, ...TEXT] },
  locales: (language: string) => `glibc-langpack-${language}`,
  timeZones: "tzdata",
} as const satisfies Partial<RpmRelease>;

export const fedora = (versionId: string): RpmRelease => ({
  ...DNF,
  title: `Fedora Linux ${versionId}`,
  versionId,
  mirror: "https://dl.fedoraproject.org/pub/fedora/linux",
  parts: [`releases/${versionId}/Everything/x86_64/os`, `updates/${versionId}/Everything/x86_64`],
  keys: {
    files: [`${KEYS}/fedora/RPM-GPG-KEY-fedora-${versionId}-primary`],
    at: "https://fedoraproject.org/fedora.gpg",
  },
  supplier: "Fedora",
  namespace: "fedora",
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
});

export const centos = (versionId: string, database: string, key: string): RpmRelease => ({
  ...DNF,
  title: `CentOS Stream ${versionId}`,
  versionId,
  mirror: "https://mirror.stream.centos.org",
  parts: ["BaseOS", "AppStream"].map((part) => `${versionId}-stream/${part}/x86_64/os`),
  keys: { files: [`${KEYS}/centos/${key}`], at: `https://www.centos.org/keys/${key}` },
  supplier: "CentOS",
  namespace: "centos",
  platform: `el${versionId}`,
  // systemd-networkd is not among its packages.
  base: [...BASE, "centos-stream-release", "dbus-broker", "dnf", "NetworkManager", "systemd-udev"],
  units: ["NetworkManager.service"],
  database,
});

const OPENSUSE = `${KEYS}/opensuse/RPM-GPG-KEY-openSUSE`;
const opensuse = (
  name: string,
  title: string,
  parts: readonly [string, ...string[]],
  keys: RpmRelease["keys"]["files"],
  network: readonly string[],
): RpmRelease => ({
  ...COMMON,
  title: `openSUSE ${title}`,
  versionId: name.replace(/^leap-/, ""),
  tool: "zypper",
  mirror: "https://download.opensuse.org",
  parts,
  keys: { files: keys, at: `https://download.opensuse.org/${parts[0]}/ (gpg-pubkey-*.asc there)` },
  supplier: "openSUSE",
  namespace: "opensuse",
  kernels: { cloud: ["kernel-default-base"], generic: ["kernel-default"] },
  platform: name,
  base: [
    ...BASE.map((each) => (each === "iproute" ? "iproute2" : each)),
    ...["dbus-1", "openSUSE-release", "udev", "zypper", ...network],
  ],
  profiles: {
    minimal: [],
    server: SERVER,
    text: [...SERVER, ...TEXT.map((each) => ({ "procps-ng": "procps", "vim-minimal": "vim" })[each] ?? each)],
  },
  units: NETWORKD,
  locales: () => "glibc-locale",
  timeZones: "timezone",
  database: "/usr/lib/sysimage/rpm",
});

export const leap = (version: string): RpmRelease =>
  opensuse(
    `leap-${version}`,
    `Leap ${version}`,
    [
      `distribution/leap/${version}/repo/oss`,
      ...["oss", "sle", "backports"].map((part) => `update/leap/${version}/${part}`),
    ],
    // Packages of SUSE Linux Enterprise and backports are signed with keys of their own.
    [
      ...([`${OPENSUSE}-2022`, OPENSUSE, `${OPENSUSE}-Backports-2023`, `${OPENSUSE}-Backports`] as const),
      ...["SLE-15", "SLE-Main-2023"].map((name) => `${KEYS}/suse/RPM-GPG-KEY-SuSE-${name}`),
    ],
    ["systemd-network"],
  );

export const tumbleweed: RpmRelease = opensuse(
  "tumbleweed",
  "Tumbleweed",
  ["tumbleweed/repo/oss", "update/tumbleweed"],
  [`${OPENSUSE}-Tumbleweed`, `${OPENSUSE}-2022`, OPENSUSE],
  ["systemd-networkd", "systemd-resolved"],
);
