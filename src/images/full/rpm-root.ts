/** The packages of a full image of Fedora, CentOS Stream or openSUSE, installed with their scripts by dnf or zypper: exactly those, without a network. */
import { mkdir, readdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { exists } from "../../system/exists.ts";
import type { Package } from "../packages/packages.ts";
import type { Recipe } from "../recipe.ts";
import type { RpmRelease } from "../releases/release.ts";
import { describe } from "../rpm/describe.ts";
import { dnfInstall } from "../rpm/dnf.ts";
import { zypperInstall } from "../rpm/zypper.ts";
import { rooted, rootedEntry } from "../workshop/rooted.ts";
import { inWorkshop, type Workshop } from "../workshop/workshop.ts";
import { type RpmRoot, sealedInRoot } from "./sealed-root.ts";

/** Of the tools: when they did what, what they know of repositories. */
const LEFTOVERS = [
  ...["var/cache/dnf", "var/cache/libdnf5", "var/cache/zypp", "var/lib/dnf", "var/log/zypp", "var/lib/zypp"],
  ...["etc/zypp/repos.d/image.repo"],
];

/**
 * Makes the folder `root`.
 * @returns when the newest package was made, in seconds since 1970. @throws Error
 */
export async function installRpms(
  work: Workshop,
  root: string,
  rpms: readonly Package[],
  { recipe, release }: { recipe: Recipe; release: RpmRelease },
): Promise<number> {
  await mkdir(root);
  // Names that say of what they are: the log shows them.
  const folder = inWorkshop(work, "rpms");
  await mkdir(folder);
  const files: string[] = [];
  for (const { name, file } of rpms) {
    files.push(join(folder, `${name}.rpm`));
    await symlink(file, join(folder, `${name}.rpm`));
  }
  const epoch = Math.max(0, ...(await describe(files, work.signal)).map(({ builtAt }) => builtAt));
  const into = { root, release, epoch, withTexts: recipe.profile === "text" };
  const install = release.tool === "dnf" ? dnfInstall : zypperInstall;
  await sealedInRoot(work, into, await install({ root, release, files, folder: work.folder }));
  await settleDatabase(work, into, folder, rpms);
  for (const path of LEFTOVERS)
    await rm(await rootedEntry(root, `/${path}`), { recursive: true, force: true });
  // What was mounted there is gone; systemd mounts its own.
  const dev = await rooted(root, "/dev");
  for (const name of await readdir(dev)) await rm(join(dev, name), { recursive: true });
  return epoch;
}

/** @param $1 the system's folder @param $2 that of the files @param $@ names of the packages */
const RECORD = `root=$1 files=$2
shift 2
[ -e "$root/usr/bin/rpm" ] || exit 0
if chroot "$root" rpm -q "$@" > /dev/null 2>&1; then exit 0; fi
echo "its own rpm does not know what is installed: it is told"
mkdir "$root/.rpms"
cp -L "$files"/*.rpm "$root/.rpms/"
chroot "$root" sh -c 'rpm --justdb --nodeps --noscripts --notriggers --nosignature -i /.rpms/*.rpm'
rm -r "$root/.rpms"
chroot "$root" rpm -q "$@" > /dev/null`;

/** What is installed was written by this machine's rpm; the system's own may have another format (openSUSE's), or another place for it. */
async function settleDatabase(
  work: Workshop,
  into: RpmRoot,
  folder: string,
  rpms: readonly Package[],
): Promise<void> {
  const { root, release } = into;
  await sealedInRoot(work, into, ["sh", "-ec", RECORD, "sh", root, folder, ...rpms.map(({ name }) => name)]);
  const path = await rooted(root, `/${release.database}/rpmdb.sqlite`);
  if (!(await exists(path))) return;
  // What was written last is in files beside it, with what is of the moment.
  const database = new DatabaseSync(path);
  database.exec("PRAGMA journal_mode = DELETE");
  database.close();
}
