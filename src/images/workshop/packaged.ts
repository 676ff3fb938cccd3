/**
 * Programs of an image's packages that run while it is built: busybox tells what it can be, localedef makes a language, syslinux the disk that starts. Packages are of whoever a recipe's
 * repositories belong to. So they run as a user of their own (where we are not root: without any rights, in a user namespace), without a network; of this machine they see its programs,
 * those of the image, and what they are to write; and nothing of them runs on. Where that is not to be had only the distribution's own packages are built from, and their programs run as they are.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { enclosed } from "../confine.ts";
import type { Recipe } from "../recipe.ts";
import { handedOn, SealedError, sealed } from "./sealed.ts";
import { step, type Workshop } from "./workshop.ts";

/**
 * @param tree where the program is, with what it reads
 * @param writes files and folders that are there
 * @param fileBytes what any file that it writes may have
 * @throws Error with what it said last, or the signal's reason
 */
export async function runPackaged(
  work: Workshop,
  command: readonly string[],
  {
    tree,
    writes,
    fileBytes,
    env = {},
  }: {
    tree: string;
    writes: readonly string[];
    fileBytes: number;
    env?: Readonly<Record<string, string>>;
  },
): Promise<void> {
  const bounded = ["prlimit", `--fsize=${fileBytes}`, ...command];
  if (work.unsealed) {
    const all = Object.entries({ ...handedOn(), ...env });
    const assigned = all.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
    await step(work, "env", ["-i", ...assigned, ...bounded]);
    return;
  }
  const folder = await mkdtemp(join(work.folder, ".packaged-"));
  const enclosure = await enclosed(folder, { programs: [tree], writes });
  await sealed(work, [...enclosure, ...bounded], { env, shown: command });
}

/** Why strangers' packages are not built from, for users. */
export const UNSEALED =
  "programs of its packages (busybox, localedef, syslinux) run while the image is built, in namespaces of their own, which are not to be had here. In a container it takes CAP_SYS_ADMIN, for a control plane that is not root user namespaces (unshare --user): give it that";

/**
 * Once for each build: it takes a moment, and what a container may do changes.
 * @param folder that is to be built in
 * @returns whether programs of packages, which are the distribution's own then, run as they are
 * @throws Error naming the field when they are strangers'
 */
export async function requirePackaged(
  { repositories = [], mirror }: Recipe,
  folder: string,
): Promise<boolean> {
  const lack = await lackOfSeal(folder);
  if (lack === undefined) return false;
  const field = repositories.length > 0 ? "recipe.repositories" : mirror?.key && "recipe.mirror.key";
  if (field) throw new Error(`${field}: ${UNSEALED}`, { cause: lack });
  return true;
}

/** Why programs of packages cannot run apart here; undefined where they can. @param folder to try it in */
export async function lackOfSeal(folder = tmpdir()): Promise<SealedError | undefined> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  // In a pool's, one that was killed leaves what goes with stale builds.
  const attempt = await mkdtemp(join(folder, ".build-attempt-"));
  try {
    const enclosure = await enclosed(attempt, {});
    await sealed({ log: () => {} }, [...enclosure, "true"]);
    return undefined;
  } catch (error) {
    if (error instanceof SealedError) return error;
    throw error;
  } finally {
    await rm(attempt, { recursive: true, force: true });
  }
}
