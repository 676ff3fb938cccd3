/** What full images have of Vireo's own: network, first boot, services as units of systemd. No path of the build machine in it. */

import { deb822 } from "../packages/repositories.ts";
import { aptSources } from "../packages/sources.ts";
import type { Recipe } from "../recipe.ts";
import { type AptRelease, isRpm } from "../releases/release.ts";
import { releaseOf } from "../releases/releases.ts";
import { FIRST_BOOT_SCRIPT, firstBootFiles, SEED_SCRIPT } from "../rootfs/first-boot.ts";
import { filesOf, type GuestFile, passingFolders } from "../rootfs/recipe-files.ts";
import { pathOptions } from "./apt-root.ts";

/**
 * Paths in the image, of what the build leaves behind or what each machine has to make for itself; those that end in "*" stand for all that begin so.
 * mmdebstrap removes package lists and downloads.
 */
export const LEFTOVERS = [
  ".cache",
  "etc/apt/apt.conf.d/99mmdebstrap",
  "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
  "etc/group-",
  "etc/gshadow-",
  "etc/passwd-",
  "etc/shadow-",
  "etc/subgid-",
  "etc/subuid-",
  "etc/ssh/ssh_host_*",
  "etc/ssl/certs/ssl-cert-snakeoil.pem",
  "etc/ssl/private/ssl-cert-snakeoil.key",
  "var/backups/*",
  "var/cache/debconf/*",
  "var/cache/ldconfig",
  "var/lib/dbus/machine-id",
  "var/lib/dpkg/diversions-old",
  "var/lib/dpkg/status-old",
  "var/lib/systemd/random-seed",
];

export const LINKS = [
  ["etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"],
  ["var/lib/dbus/machine-id", "/etc/machine-id"],
] as const;

/** Enabled in each image. */
export function unitsOf(recipe: Recipe): string[] {
  return [
    ...releaseOf(recipe).units,
    "vireo-seed.service",
    ...(recipe.firstBoot === undefined ? [] : ["vireo-first-boot.service"]),
  ];
}

const seedUnit = (volatile: boolean) => `[Unit]
Description=First-boot data of the machine
DefaultDependencies=no
ConditionPathExists=!/usr/bin/cloud-init
Wants=network-pre.target
After=systemd-remount-fs.service systemd-udev-trigger.service systemd-tmpfiles-setup.service local-fs.target
Before=network-pre.target sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${SEED_SCRIPT}${volatile ? " always" : ""}

[Install]
WantedBy=sysinit.target
`;

const NETWORK = `[Match]
Type=ether
Kind=!*

[Network]
DHCP=yes

[DHCPv4]
ClientIdentifier=mac
`;

/** One network is enough; a machine without any has nothing to wait for. */
const WAIT_ONLINE = `[Unit]
ConditionPathExistsGlob=/sys/class/net/e*

[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=20
`;

const FIRST_BOOT_UNIT = `[Unit]
Description=The image's script for a machine's first boot
Wants=network-online.target
After=network-online.target vireo-seed.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${FIRST_BOOT_SCRIPT}
StandardOutput=journal+console
StandardError=inherit
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
`;

const serviceUnit = (name: string) => `[Unit]
Description=${name}
Wants=network-online.target
After=network-online.target vireo-first-boot.service

[Service]
ExecStart=/etc/vireo/services/${name}
Restart=always
RestartSec=1
StandardOutput=journal+console
StandardError=inherit

[Install]
WantedBy=multi-user.target
`;

/** Where the machine has its packages from. */
const sources = (release: AptRelease) =>
  aptSources(release)
    .map(({ mirror, suite }) => `deb ${mirror} ${suite} ${release.components}\n`)
    .join("");

/** A line of tmpfiles.d(5). */
const folderLine = (path: string) =>
  `d "${path.replace(/["\\]/g, "\\$&").replaceAll("%", "%%")}" 0755 root root -\n`;

const KEYS = "/etc/pki/rpm-gpg";

/** What its package manager goes on with. */
function managerFiles(recipe: Recipe): GuestFile[] {
  const file = (path: string, content: string): GuestFile => ({ path, content, mode: 0o644 });
  const { repositories = [] } = recipe;
  const release = releaseOf(recipe);
  if (!isRpm(release))
    return [
      file("/etc/apt/sources.list", sources(release)),
      file("/etc/apt/apt.conf.d/vireo", 'Acquire::Languages "none";\n'),
      file(
        "/etc/dpkg/dpkg.cfg.d/vireo",
        pathOptions(recipe)
          .map((option) => `${option}\n`)
          .join(""),
      ),
      ...repositories.map((repository, i) =>
        file(`/etc/apt/sources.list.d/repository-${i + 1}.sources`, deb822(repository)),
      ),
    ];
  const folder = release.tool === "dnf" ? "/etc/yum.repos.d" : "/etc/zypp/repos.d";
  return repositories.flatMap(({ uri, key }, i) => {
    const name = `repository-${i + 1}`;
    const lines = [
      `name=${name}`,
      `baseurl=${uri}`,
      "enabled=1",
      "gpgcheck=1",
      `gpgkey=file://${KEYS}/${name}`,
    ];
    return [
      file(`${folder}/${name}.repo`, [`[${name}]`, ...lines, ""].join("\n")),
      file(`${KEYS}/${name}`, `${key.trim()}\n`),
    ];
  });
}

/** Everything Vireo itself adds to an image of this recipe; the recipe's own files come last and win. */
export function fullFiles(recipe: Recipe): GuestFile[] {
  const file = (path: string, content: string, mode = 0o644): GuestFile => ({ path, content, mode });
  const { hostname = "vireo" } = recipe;
  const volatile = recipe.root === "squashfs" || recipe.root === "erofs";
  const passing = passingFolders(recipe);
  return [
    ...managerFiles(recipe),
    // What is only read cannot grow, either.
    file("/etc/fstab", volatile ? "" : "LABEL=root / ext4 rw,noatime,x-systemd.growfs 0 0\n"),
    file("/etc/hostname", `${hostname}\n`),
    file(
      "/etc/hosts",
      `127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 ${hostname}\n`,
    ),
    // systemd makes one when it finds it empty.
    file("/etc/machine-id", ""),
    file("/etc/systemd/network/80-vireo.network", NETWORK),
    file("/etc/systemd/system/systemd-networkd-wait-online.service.d/vireo.conf", WAIT_ONLINE),
    file("/etc/systemd/system/vireo-seed.service", seedUnit(volatile)),
    ...firstBootFiles(recipe),
    ...(recipe.firstBoot === undefined
      ? []
      : [file("/etc/systemd/system/vireo-first-boot.service", FIRST_BOOT_UNIT)]),
    ...(recipe.services ?? []).flatMap(({ name, command }) =>
      command === undefined
        ? []
        : [
            file(`/etc/vireo/services/${name}`, `#!/bin/sh\nexec ${command}\n`, 0o755),
            file(`/etc/systemd/system/${name}.service`, serviceUnit(name)),
          ],
    ),
    ...(passing.length > 0
      ? [file("/etc/tmpfiles.d/vireo-recipe.conf", passing.map(folderLine).join(""))]
      : []),
    ...filesOf(recipe),
  ];
}
