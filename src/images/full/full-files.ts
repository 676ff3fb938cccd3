/** What full images have of Vireo's own: network, first boot, services as units of systemd. No path of the build machine in it. */
import { filesOf, type GuestFile } from "../build/guest-files.ts";
import type { Recipe } from "../recipe.ts";

/**
 * Paths in the image, of what the build leaves behind or what each machine has to make for itself; those that end in "*" stand for all that begin so.
 * mmdebstrap removes package lists and downloads.
 */
export const LEFTOVERS = [
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
export const UNITS = ["systemd-networkd.service", "systemd-resolved.service", "vireo-seed.service"];

/** First-boot data: a NoCloud seed on any disk. cloud-init, where it is installed, reads it itself. */
const SEED = `#!/bin/sh
# Once for each machine: its seed says which one it is.
state=/var/lib/vireo
mkdir -p "$state" /run/vireo/seed
for disk in /dev/vd? /dev/sd?; do
  [ -b "$disk" ] && mount -t vfat -o ro "$disk" /run/vireo/seed 2>/dev/null && break
done
seed=/run/vireo/seed
id=$(sed -n 's/^instance-id: *//p' "$seed/meta-data" 2>/dev/null)
if [ ! -e "$state/instance-id" ] || [ "$(cat "$state/instance-id")" != "$id" ]; then
  name=$(sed -n 's/^local-hostname: *//p' "$seed/meta-data" 2>/dev/null)
  if [ -n "$name" ]; then
    echo "$name" > /etc/hostname
    sed -i '/^127\\.0\\.1\\.1[ \\t]/d' /etc/hosts
    printf '127.0.1.1\\t%s\\n' "$name" >> /etc/hosts
    hostname "$name"
  fi
  if [ -f "$seed/user-data" ]; then
    mkdir -p -m 700 /root/.ssh
    sed -n '/^ssh_authorized_keys:/,/^[a-z]/s/^ *- *"\\{0,1\\}\\(.*[^"]\\)"\\{0,1\\}$/\\1/p' "$seed/user-data" > /root/.ssh/authorized_keys
  fi
  # Keys that no two machines may share.
  if command -v ssh-keygen >/dev/null; then rm -f /etc/ssh/ssh_host_*; ssh-keygen -A; fi
  if command -v make-ssl-cert >/dev/null; then make-ssl-cert generate-default-snakeoil --force-overwrite; fi
  echo "$id" > "$state/instance-id"
fi
umount "$seed" 2>/dev/null || true
`;

const SEED_UNIT = `[Unit]
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
ExecStart=/usr/lib/vireo/seed

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

const serviceUnit = (name: string) => `[Unit]
Description=${name}
Wants=network-online.target
After=network-online.target

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
const sources = ({ release }: Recipe) =>
  `deb http://deb.debian.org/debian ${release} main
deb http://deb.debian.org/debian ${release}-updates main
deb http://deb.debian.org/debian-security ${release}-security main
`;

/** Everything Vireo itself adds to an image of this recipe; the recipe's own files come last and win. @param paths dpkg's options on paths */
export function fullFiles(recipe: Recipe, paths: readonly string[]): GuestFile[] {
  const file = (path: string, content: string, mode = 0o644): GuestFile => ({ path, content, mode });
  return [
    file("/etc/apt/sources.list", sources(recipe)),
    file("/etc/apt/apt.conf.d/vireo", 'Acquire::Languages "none";\n'),
    file("/etc/dpkg/dpkg.cfg.d/vireo", paths.map((option) => `${option}\n`).join("")),
    file("/etc/fstab", "LABEL=root / ext4 rw,noatime,x-systemd.growfs 0 0\n"),
    file("/etc/hostname", "vireo\n"),
    file("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tvireo\n"),
    // systemd makes one when it finds it empty.
    file("/etc/machine-id", ""),
    file("/etc/systemd/network/80-vireo.network", NETWORK),
    file("/etc/systemd/system/systemd-networkd-wait-online.service.d/vireo.conf", WAIT_ONLINE),
    file("/etc/systemd/system/vireo-seed.service", SEED_UNIT),
    file("/usr/lib/vireo/seed", SEED, 0o755),
    ...(recipe.services ?? []).flatMap(({ name, command }) =>
      command === undefined
        ? []
        : [
            file(`/etc/vireo/services/${name}`, `#!/bin/sh\nexec ${command}\n`, 0o755),
            file(`/etc/systemd/system/${name}.service`, serviceUnit(name)),
          ],
    ),
    ...filesOf(recipe),
  ];
}
