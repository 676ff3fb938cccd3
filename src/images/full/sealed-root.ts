/** How a tool installs packages into a folder whose scripts have to find what a running system has: /proc and /dev, of its own. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RpmRelease } from "../releases/release.ts";
import { rooted } from "../workshop/rooted.ts";
import { sealed } from "../workshop/sealed.ts";
import type { Workshop } from "../workshop/workshop.ts";

/** A system of RPMs that is being made. */
export interface RpmRoot {
  /** Its folder. */
  root: string;
  release: RpmRelease;
  /** What rpm takes for the time, in seconds since 1970. */
  epoch: number;
  /** Whether what only people read is installed: manuals, documentation, translations. */
  withTexts: boolean;
}

/** In the namespaces of sealed(), so that what is mounted goes with the tool. @param $1 the folder */
const MOUNT = `root=$1
shift
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null,1,3 zero,1,5 full,1,7 random,1,8 urandom,1,9 tty,5,0; do
  IFS=, read -r name major minor <<NODE
$node
NODE
  mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
ln -s /proc/self/fd "$root/dev/fd"
exec "$@"`;

/** rpm's settings (rpm(8), "CONFIGURATION"): Debian's own keep what is installed in root's home. */
const macros = ({ database }: RpmRelease, withTexts: boolean) =>
  [`%_dbpath ${database}`, ...(withTexts ? [] : ["%_excludedocs 1", "%_install_langs C"]), ""].join("\n");

/** @throws SealedError */
export async function sealedInRoot(
  work: Workshop,
  { root, release, epoch, withTexts }: RpmRoot,
  command: readonly string[],
): Promise<void> {
  const home = join(work.folder, "rpm-home");
  for (const path of [home, await rooted(root, "/proc"), await rooted(root, "/dev")])
    await mkdir(path, { recursive: true });
  await writeFile(join(home, ".rpmmacros"), macros(release, withTexts));
  const env = {
    HOME: home,
    SOURCE_DATE_EPOCH: `${epoch}`,
    ZYPP_LOGFILE: join(work.folder, "zypper.log"),
  };
  await sealed(work, ["sh", "-ec", MOUNT, "sh", root, ...command], { env, shown: command });
}
