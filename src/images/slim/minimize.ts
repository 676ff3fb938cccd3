/**
 * Leaves out of a root file system the programs and libraries that nothing in it needs: what is started (services, scripts of the recipe,
 * programs of the packages that it names), the libraries of those and of plugins, and so on. Other files stay.
 */
import { lstat, readdir, readFile, readlink, rm } from "node:fs/promises";
import { posix } from "node:path";
import { bytesOf, type Recipe } from "../recipe.ts";
import { readElf } from "../rootfs/elf.ts";
import { rooted, rootedEntry } from "../workshop/rooted.ts";

const LIBRARY_FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib", "/usr/lib64"];
const PROGRAM_FOLDERS = ["/usr/bin", "/usr/sbin", "/usr/games", "/usr/libexec"];
/** Plugins of libc for other character sets and for debugging, 8 MB that a service hardly ever opens; what is for editors. */
const UNNEEDED = ["/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib/x86_64-linux-gnu/audit", "/usr/share/vim"];
/** Opened by libc itself when a thread ends. */
export const OPENED = ["libgcc_s.so.1"];
const SCRIPT = Buffer.from("#!");
const MAX_SCRIPT = 2 ** 20;
/** Enough for a header of a script, and to tell ELF. */
const HEAD_BYTES = 256;

/** Absolute paths in the image of regular files and links below a folder of it; of a link to a folder none: what is there belongs elsewhere. */
async function filesBelow(root: string, folder: string): Promise<string[]> {
  const at = await rooted(root, folder);
  if (at.slice(root.length) !== folder) return [];
  const found = await readdir(at, { withFileTypes: true, recursive: true }).catch(() => []);
  return found
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => `${entry.parentPath.slice(root.length)}/${entry.name}`);
}

/** Words of commands and scripts: what may be a path or a program's name. */
const words = (text: string) => new Set(text.match(/[\w./+-]+/g) ?? []);

/**
 * @param own files of the packages that the recipe names
 * @param brought files of its archives
 * @returns what was removed, sorted
 */
export async function minimize(
  root: string,
  recipe: Recipe,
  { own, brought }: { own: readonly string[]; brought: readonly string[] },
): Promise<string[]> {
  const gone: string[] = [];
  for (const folder of UNNEEDED) {
    const at = await rootedEntry(root, folder);
    if (!(await lstat(at).catch(() => undefined))) continue;
    await rm(at, { recursive: true });
    gone.push(folder);
  }
  const programs = await programsOf(root);
  const libraries = await filesBelow(root, "/usr/lib");
  const byName = new Map(programs.map((path) => [posix.basename(path), path]));

  const closure = new Closure(root);
  await addStarted(closure, root, recipe, { brought, byName });
  for (const path of own) if (isIn(path, [...PROGRAM_FOLDERS, "/usr/lib"])) await closure.add(path);
  // Plugins: programs open them by their own folders' names.
  const isPlugin = (path: string) => !LIBRARY_FOLDERS.includes(posix.dirname(path));
  for (const path of libraries) if (isPlugin(path)) await closure.add(path);
  for (const name of OPENED) await closure.addLibrary(name, []);

  const removed: string[] = [];
  for (const path of [...programs, ...libraries.filter((path) => !isPlugin(path))]) {
    if (closure.has(path)) continue;
    if (!programs.includes(path) && !(await isLibrary(root, path))) continue;
    await rm(await rootedEntry(root, path), { force: true });
    removed.push(path);
  }
  return [...gone, ...removed].sort();
}

/** What the recipe starts, by the words of its commands and scripts, and the files that it has itself. */
export async function addStarted(
  closure: Closure,
  root: string,
  recipe: Recipe,
  { brought, byName }: { brought: readonly string[]; byName: ReadonlyMap<string, string> },
): Promise<void> {
  const texts = [
    ...(recipe.services ?? []).map(({ command = "" }) => command),
    ...(recipe.firstBoot ? [recipe.firstBoot] : []),
    ...(recipe.users ?? []).flatMap(({ shell }) => shell ?? []),
    ...(recipe.files ?? [])
      .map(bytesOf)
      .flatMap((bytes) => (bytes.subarray(0, 2).equals(SCRIPT) ? [`${bytes}`] : [])),
    ...(await scriptsOf(root, brought)),
  ];
  for (const word of texts.flatMap((text) => [...words(text)])) {
    if (word.startsWith("/")) await closure.add(word);
    const named = byName.get(word);
    if (named) await closure.add(named);
  }
  for (const { path } of recipe.files ?? []) await closure.add(path);
  for (const path of brought) await closure.add(path);
}

/** Where programs are, by their names. */
export async function programsOf(root: string): Promise<string[]> {
  return (await Promise.all(PROGRAM_FOLDERS.map((folder) => filesBelow(root, folder)))).flat();
}

/** The texts of those that are scripts. */
async function scriptsOf(root: string, paths: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  for (const path of paths) {
    const at = await rooted(root, path);
    const found = await lstat(at).catch(() => undefined);
    if (!found?.isFile() || found.size > MAX_SCRIPT) continue;
    const bytes = await readFile(at);
    if (bytes.subarray(0, 2).equals(SCRIPT)) texts.push(`${bytes}`);
  }
  return texts;
}

const isIn = (path: string, folders: readonly string[]) =>
  folders.some((folder) => path.startsWith(`${folder}/`));

/** Links by their name: what they lead to may be gone already. */
async function isLibrary(root: string, path: string): Promise<boolean> {
  const at = await rootedEntry(root, path);
  if ((await lstat(at)).isSymbolicLink()) return /\.so(\.|$)/.test(path);
  return readElf(await readFile(at)) !== undefined;
}

/** Files with all that they need, as they are found. */
export class Closure {
  readonly #root: string;
  readonly #kept = new Set<string>();
  /** Libraries that files need and that are not there. */
  readonly missing = new Set<string>();

  constructor(root: string) {
    this.#root = root;
  }

  has(path: string): boolean {
    return this.#kept.has(path);
  }

  /** A file of the image, by its path there, through links; what is not there, or no file, is passed over. */
  async add(path: string): Promise<boolean> {
    const at = await rooted(this.#root, path);
    const real = at.slice(this.#root.length);
    const found = await lstat(at).catch(() => undefined);
    if (!found?.isFile()) return false;
    await this.#keepLinks(path);
    if (this.#kept.has(real)) return true;
    this.#kept.add(real);
    const bytes = await readFile(at);
    const script = /^#! *(\S+)(?: +(\S+))?/.exec(bytes.toString("latin1", 0, HEAD_BYTES));
    if (script?.[1]) await this.add(script[1]);
    if (script?.[2] && posix.basename(script[1] ?? "") === "env") await this.add(`/usr/bin/${script[2]}`);
    const elf = readElf(bytes);
    if (!elf) return true;
    if (elf.interpreter) await this.add(elf.interpreter);
    const runPath = elf.runPath.map((folder) =>
      folder.replace(/^\$(?:ORIGIN|\{ORIGIN\})/, posix.dirname(real)),
    );
    for (const name of elf.needed) await this.addLibrary(name, runPath);
    return true;
  }

  async addLibrary(name: string, runPath: readonly string[]): Promise<void> {
    for (const folder of [...runPath, ...LIBRARY_FOLDERS])
      if (await this.add(posix.join(folder, name))) return;
    this.missing.add(name);
  }

  /** The links on the way: each is kept by the path that it has when those before it are followed. */
  async #keepLinks(path: string): Promise<void> {
    for (let at = path, left = 40; left > 0; left--) {
      const link = await rootedEntry(this.#root, at);
      const here = link.slice(this.#root.length);
      const target = await readlink(link).catch(() => undefined);
      if (target === undefined) return;
      this.#kept.add(here);
      at = posix.resolve(posix.dirname(here), target);
    }
  }
}
