/**
 * Programs of an image's packages that run while it is built: busybox tells what it can be, localedef makes a language, syslinux the disk that starts. Packages are of whoever a recipe's
 * repositories belong to. So where we are root they run as a user of their own, without a network; of this machine they see its programs, those of the image, and what they are to write; and
 * nothing of them runs on. Who is not root has few rights, which they have as well.
 */
import { mkdtemp } from "node:fs/promises";
import { basename, join } from "node:path";
import { tryNamespaces } from "../full/full-mode.ts";
import { SealedError, sealed } from "../full/sealed.ts";
import { confined } from "../import/confine.ts";
import type { Recipe } from "../recipe.ts";
import { step, type Workshop } from "./workshop.ts";

/**
 * @param tree where the program is, with what it reads
 * @param writes files and folders that are there
 * @throws Error with what it said last, or the signal's reason
 */
export async function runPackaged(
  work: Workshop,
  command: readonly string[],
  {
    tree,
    writes,
    env = {},
  }: { tree: string; writes: readonly string[]; env?: Readonly<Record<string, string>> },
): Promise<void> {
  const [program = "", ...args] = command;
  if (await runsAsItIs()) {
    await step(work, program, args, { env });
    return;
  }
  const folder = await mkdtemp(join(work.folder, ".packaged-"));
  const enclosed = await confined(folder, { programs: [tree], writes });
  work.log(`+ ${command.join(" ")}`);
  // What encloses it is nothing to who reads the log.
  const log = (line: string) => line.startsWith("+ ") || work.log(line);
  await sealed({ ...work, log }, [...enclosed, ...command], env).catch((error: unknown) => {
    if (!(error instanceof SealedError)) throw error;
    throw new SealedError(error.message.replace(/^unshare /, `${basename(program)} `), { cause: error });
  });
}

/** Each time anew: it takes a moment, and what a container may do changes. */
const canSeal = () =>
  tryNamespaces().then(
    () => true,
    () => false,
  );

const runsAsItIs = async () => process.getuid?.() !== 0 || !(await canSeal());

/** @throws Error naming the field when strangers' programs would run as root here, with all that it may do */
export async function requirePackaged({ repositories = [], mirror }: Recipe): Promise<void> {
  const field = repositories.length > 0 ? "recipe.repositories" : mirror?.key && "recipe.mirror.key";
  if (!field || process.getuid?.() !== 0 || (await canSeal())) return;
  throw new Error(
    `${field}: programs of its packages (busybox, localedef) run while the image is built, in namespaces of their own, which are not to be had here. In a container it takes CAP_SYS_ADMIN: give the control plane that, or run it as another user than root`,
  );
}
