/** Releases of Debian and Ubuntu. Pure. */
import { type AptRelease, NETWORKD } from "./release.ts";

const SERVER = ["ca-certificates", "cron", "logrotate", "openssh-server", "systemd-timesyncd"];
const TEXT = [
  ...["bash-completion", "bzip2", "curl", "file", "less", "locales", "lsof", "man-db", "manpages", "nano"],
  ...["procps", "psmisc", "tmux", "unzip", "vim-tiny", "wget", "xz-utils"],
];

/** What a desktop takes of a system: sessions of users, a screen that is drawn by software, sound, letters. */
const DESKTOP = [
  ...["dbus-user-session", "fonts-dejavu-core", "libgl1-mesa-dri", "libpam-systemd", "pipewire-pulse"],
  ...["polkitd", "wireplumber", "xdg-user-dirs", "xserver-xorg", "xwayland"],
];
const GNOME = [
  ...["adwaita-icon-theme", "epiphany-browser", "gdm3", "gnome-control-center", "gnome-session"],
  ...["gnome-shell", "gnome-terminal", "gnome-text-editor", "nautilus"],
];
const KDE = [
  ...["breeze", "dolphin", "falkon", "konsole", "kwrite", "plasma-desktop", "plasma-pa", "sddm"],
  ...["sddm-theme-breeze", "systemsettings"],
];

/** What both have in common. */
const COMMON = {
  tool: "apt",
  modes: ["slim", "full"],
  kernelNames: /^linux-image-/,
  ext4: [],
  base: [
    "apt",
    "dbus",
    "iproute2",
    "kmod",
    "netbase",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
    // The other choice is usrmerge, which brings perl.
    "usr-is-merged",
  ],
  profiles: {
    minimal: [],
    server: SERVER,
    text: [...SERVER, ...TEXT],
    gnome: [...SERVER, ...DESKTOP, ...GNOME],
    kde: [...SERVER, ...DESKTOP, ...KDE],
  },
  units: NETWORKD,
  locales: () => "locales",
  timeZones: "tzdata",
} as const satisfies Partial<AptRelease>;

export const debian = (
  versionId: string,
  release: string,
  more: Pick<AptRelease, "languages" | "repacks"> = {},
): AptRelease => ({
  ...COMMON,
  title: `Debian ${versionId} (${release})`,
  versionId,
  id: "debian",
  name: "Debian GNU/Linux",
  mirror: "http://deb.debian.org/debian",
  snapshot: "http://snapshot.debian.org/archive/debian/YYYYMMDDT000000Z",
  parts: [release, `${release}-updates`],
  apart: [{ mirror: "http://deb.debian.org/debian-security", suite: `${release}-security` }],
  components: "main",
  keys: {
    files: ["/usr/share/keyrings/debian-archive-keyring.gpg"],
    from: "debian-archive-keyring",
    at: "https://ftp-master.debian.org/keys.html",
  },
  supplier: "Debian",
  namespace: "debian",
  kernels: { cloud: ["linux-image-cloud-amd64"], generic: ["linux-image-amd64"] },
  ...more,
});

export const ubuntu = (versionId: string, release: string): AptRelease => ({
  ...COMMON,
  title: `Ubuntu ${versionId} (${release})`,
  versionId,
  id: "ubuntu",
  name: "Ubuntu",
  mirror: "http://archive.ubuntu.com/ubuntu",
  snapshot: "https://snapshot.ubuntu.com/ubuntu/YYYYMMDDT000000Z",
  parts: [release, `${release}-updates`, `${release}-security`],
  apart: [],
  components: "main universe",
  keys: {
    files: ["/usr/share/keyrings/ubuntu-archive-keyring.gpg"],
    at: "https://keyserver.ubuntu.com/pks/lookup?op=get&search=0xF6ECB3762474EDA9D21B7022871920D1991BC93C",
  },
  supplier: "Canonical",
  namespace: "ubuntu",
  kernels: { cloud: ["linux-image-virtual"], generic: ["linux-image-generic"] },
});
