/** The files of an application, and what it brings itself: what it has, no package needs to. */
import { lstat, open, readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, posix, relative } from "node:path";

export interface AppFile {
  /** On this machine. */
  path: string;
  /** Within the application. */
  name: string;
  bytes: number;
  isExecutable: boolean;
}

export interface Application {
  files: AppFile[];
  /** Links to files that it has, as files. */
  copies: AppFile[];
  /** Links to what it does not have. */
  links: { name: string; target: string }[];
  /** All its links, as they are written. */
  written: { name: string; target: string }[];
  /** Whether it has a library, of this file name. */
  hasLibrary: (name: string) => boolean;
  /** Whether it has a file that ends so: "a/B.pm". */
  hasFile: (ending: string) => boolean;
  /** Whether it has a Python module of this name, seen from a file of it. */
  hasPython: (module: string, from: string) => boolean;
  /** Whether a folder node_modules has it, or it is the application. */
  hasNode: (name: string) => boolean;
}

/** More is no application but a system. */
const MAX_FILES = 200_000;

/** In bytes; more is none of Node. */
const MAX_PACKAGE_JSON = 2 ** 24;

export class ApplicationError extends Error {}

/** @param path a file or a folder. @throws ApplicationError */
export async function readApplication(path: string): Promise<Application> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) throw new ApplicationError(`${path}: there is no such file or folder`);
  const at = await realpath(path);
  const paths = (await lstat(at)).isDirectory() ? await below(at) : [at];
  if (paths.length > MAX_FILES)
    throw new ApplicationError(
      `${path}: has more than ${MAX_FILES} files; name the folder of the application itself`,
    );
  return applicationOf(paths, (await lstat(at)).isDirectory() ? at : dirname(at));
}

async function below(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** @param root what the names are relative to; "/" for files of all places */
export async function applicationOf(paths: readonly string[], root: string): Promise<Application> {
  const files: AppFile[] = [];
  const names = new Set<string>();
  const links = new Map<string, string>();
  const written: Application["written"] = [];
  for (const path of paths) {
    const found = await lstat(path).catch(() => undefined);
    if (!found) continue;
    const name = relative(root, path);
    names.add(`/${name}`);
    if (found.isSymbolicLink()) {
      const target = await readlink(path);
      written.push({ name, target });
      links.set(name, posix.resolve(dirname(`/${name}`), target));
    }
    if (found.isFile())
      files.push({ path, name, bytes: found.size, isExecutable: (found.mode & 0o111) !== 0 });
  }
  const libraries = new Set(
    [...names].map((name) => basename(name)).filter((name) => /\.so(\.|$)/.test(name)),
  );
  const endings = endingsOf(names);
  const python = pythonModules(names);
  const node = new Set(await nodePackages(files));
  const folders = new Set([...names].flatMap(foldersOf));
  const isOwn = (target: string) => names.has(target) || folders.has(target);
  const copies: AppFile[] = [];
  for (const [name, target] of links) {
    const found = isOwn(target) ? await stat(join(root, name)).catch(() => undefined) : undefined;
    if (found?.isFile())
      copies.push({
        path: join(root, name),
        name,
        bytes: found.size,
        isExecutable: (found.mode & 0o111) !== 0,
      });
  }
  return {
    files,
    copies,
    written,
    links: [...links].map(([name, target]) => ({ name, target })).filter(({ target }) => !isOwn(target)),
    hasLibrary: (name) => libraries.has(name),
    hasFile: (ending) => endings.has(ending),
    hasPython: (module, from) =>
      python.anywhere.has(module) || python.beside.has(`${dirname(`/${from}`)}/${module}`),
    hasNode: (name) => node.has(name),
  };
}

/** "/a/b/c" -> "/", "/a", "/a/b". */
function foldersOf(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join("/") || "/");
}

/** How many folders of a path count for hasFile. */
const MAX_DEPTH = 6;

function endingsOf(names: Iterable<string>): Set<string> {
  const endings = new Set<string>();
  for (const name of names) {
    const parts = name.replace(/\.rb$/, "").split("/");
    for (let depth = 1; depth <= Math.min(MAX_DEPTH, parts.length); depth++)
      endings.add(parts.slice(-depth).join("/"));
  }
  return endings;
}

/** Modules that are imported by their name alone: those in folders that are no packages themselves; and those beside a file. */
function pythonModules(names: ReadonlySet<string>): { anywhere: Set<string>; beside: Set<string> } {
  const [anywhere, beside] = [new Set<string>(), new Set<string>()];
  for (const path of names) {
    const match = /^(.*)\/([^/]+?)(?:\.py|\.(?:cpython-|abi3)[^/]*\.so)$/.exec(path);
    if (!match) continue;
    const [, folder = "", name = ""] = match;
    const isPackage = name === "__init__";
    const [place, module] = isPackage ? [dirname(folder), basename(folder)] : [folder, name];
    beside.add(`${place}/${module}`);
    if (!names.has(`${place}/__init__.py`)) anywhere.add(module);
    // Packages without __init__.py.
    const [top] = /(?:site|dist)-packages\/([^/]+)\//.exec(path)?.slice(1) ?? [];
    if (top) anywhere.add(top);
  }
  return { anywhere, beside };
}

async function nodePackages(files: readonly AppFile[]): Promise<string[]> {
  const names: string[] = [];
  for (const { path, name, bytes } of files) {
    const [, inside] =
      /(?:node_modules|share\/nodejs)\/((?:@[^/]+\/)?[^/]+)\/package\.json$/.exec(name) ?? [];
    if (inside) names.push(inside);
    else if (
      bytes <= MAX_PACKAGE_JSON &&
      basename(name) === "package.json" &&
      !name.includes("node_modules/")
    ) {
      const own = /"name"\s*:\s*"([^"]+)"/.exec(await readFile(path, "utf8"))?.[1];
      if (own) names.push(own);
    }
  }
  return names;
}

/** The beginning of a file. */
export async function headOf(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
