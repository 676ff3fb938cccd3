/**
 * What a process sees of its host, a QEMU or what else reads strangers' files: a mount namespace of its own, in which there are programs and libraries
 * (read-only), the files and folders that it is given, at the paths that they have on the host, and a /dev with nothing but what it uses. Whoever takes it
 * over finds no other machine's disk, no key and no socket, whatever their permissions are.
 *
 *   FOLDER/root    its root: empty folders and files, on which a private mount namespace puts what is in
 *   FOLDER/fstab   that list
 *
 * Made by util-linux alone, each program becoming the next, so that the process which is spawned *is* QEMU in the end, and nothing outlives it:
 *
 *   unshare --mount ─► sh: mount --all, pivot_root, umount of the old root ─► setpriv: the machine's user, no capabilities ─► QEMU
 *
 * Rejected: bwrap (a second process for each machine, as root, whose end is not QEMU's), namespaces kept by a mount (left over after a crash).
 * Measured here with 10 mounts: 10 ms.
 */
import { lstatSync, mkdirSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Reach {
  /** Files and folders; what is made in a folder later is there, too. Absolute. Those that do not exist are left out. */
  writable: readonly string[];
  readable: readonly string[];
  /** As readable, and what is in it may be run. */
  programs?: readonly string[];
  /** Files in /dev. */
  devices: readonly string[];
  /**
   * A folder for files of a moment: empty, its own, and in memory, so that the host's disk cannot be filled through it. Where it is made, nobody else sees what is
   * in it, but for root by the process (`insideOf`).
   */
  scratch?: string;
}

/** Much for files of a moment, little for a host: what a process that was taken over can have there. */
export const SCRATCH_BYTES = 64 * 2 ** 20;
const SCRATCH_FILES = 64;

export interface User {
  uid: number;
  gid: number;
}

/** Programs, libraries and what these read; no secrets are there. As on the host: links, folders or files. */
const SYSTEM = [
  "/usr",
  "/bin",
  "/sbin",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/etc/alternatives",
  "/etc/ld.so.cache",
  "/etc/localtime",
];

const DEVICES = ["/dev/null", "/dev/urandom"];

const OLD_ROOT = "old";

/** The folders of PATH may be out of sight in there. */
const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

const SCRIPT = `PATH=$PATH:${SYSTEM_PATH} && mount --all --fstab "$1" && cd "$2" && pivot_root . ${OLD_ROOT} && cd / && umount --no-mtab --lazy /${OLD_ROOT} && shift 2 && exec "$@"`;

/**
 * Writes the root for one process into `folder`, which exists and which only root may write. Needs root, be it of a user namespace.
 * @param user whom it becomes; without, it stays who it is
 * @param name of it, when several are in one folder
 * @returns the command before the process's own
 */
export function enclose(folder: string, reach: Reach, user?: User, name = "root"): string[] {
  const root = join(folder, name);
  rmSync(root, { recursive: true, force: true });
  for (const path of [OLD_ROOT, "dev", "etc", "proc"]) mkdirSync(join(root, path), { recursive: true });
  const mounts = [mountOf(root, root, "ro,nosuid")];
  // umount wants to know what is mounted; a process sees those of its own user in it, and nothing else of the system.
  mounts.push(`proc ${escaped(join(root, "proc"))} proc nosuid,nodev,noexec,hidepid=2,subset=pid 0 0`);
  const put = (paths: readonly string[], options: string) => {
    for (const path of new Set(paths))
      if (place(root, path)) mounts.push(mountOf(path, join(root, path), options));
  };
  put(SYSTEM, "ro,nosuid,nodev");
  put([...DEVICES, ...reach.devices], "nosuid,noexec");
  put(reach.readable, "ro,nosuid,nodev,noexec");
  put(reach.programs ?? [], "ro,nosuid,nodev");
  put(reach.writable, "nosuid,nodev,noexec");
  if (reach.scratch) {
    mkdirSync(reach.scratch, { recursive: true, mode: 0o700 });
    place(root, reach.scratch);
    mounts.push(scratchOn(join(root, reach.scratch), user));
  }
  const fstab = join(folder, name === "root" ? "fstab" : `${name}.fstab`);
  writeFileSync(fstab, `${mounts.join("\n")}\n`, { mode: 0o600 });
  return [
    ...["unshare", "--mount", "--propagation", "private"],
    ...["sh", "-c", SCRIPT, "sh", fstab, root],
    "setpriv",
    ...(user ? becoming(user, deviceGroups(reach.devices)) : []),
    ...["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"],
  ];
}

const becoming = ({ uid, gid }: User, groups: readonly number[]) => [
  ...["--reuid", String(uid), "--regid", String(gid)],
  ...(groups.length > 0 ? ["--groups", groups.join(",")] : ["--clear-groups"]),
];

/** Makes what `path` is mounted on. @returns whether there is anything to mount: a link is made as it is */
function place(root: string, path: string): boolean {
  const at = join(root, path);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return false;
  mkdirSync(dirname(at), { recursive: true });
  if (found.isSymbolicLink() && SYSTEM.includes(path)) {
    // Into /usr, which is there.
    rmSync(at, { recursive: true, force: true });
    symlinkSync(readlinkSync(path), at);
    return false;
  }
  if (statSync(path).isDirectory()) mkdirSync(at, { recursive: true });
  else writeFileSync(at, "");
  return true;
}

const mountOf = (from: string, to: string, options: string) =>
  `${escaped(from)} ${escaped(to)} none bind,${options} 0 0`;

function scratchOn(path: string, { uid, gid }: User = { uid: 0, gid: 0 }): string {
  const most = `size=${SCRATCH_BYTES},nr_inodes=${SCRATCH_FILES}`;
  return `tmpfs ${escaped(path)} tmpfs nosuid,nodev,noexec,${most},mode=0700,uid=${uid},gid=${gid} 0 0`;
}

/** Where root finds what a process sees at `path`. */
export const insideOf = (pid: number, path: string): string => join(`/proc/${pid}/root`, path);

/** fstab(5) */
const escaped = (path: string) =>
  path.replaceAll(/[\\\s]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);

/** Groups that may use the devices where not everybody may: Debian's /dev/kvm is of the group kvm. */
function deviceGroups(devices: readonly string[]): number[] {
  const groups = devices.flatMap((path) => {
    const found = statSync(path, { throwIfNoEntry: false });
    return found && found.gid !== 0 && (found.mode & 0o066) === 0o060 ? [found.gid] : [];
  });
  return [...new Set(groups)];
}
