/**
 * Paths inside the root file system of an image under construction. Links in it mean places of the image, not of this machine: "/var/run"
 * may be a link to "/run", and a file written through it by the machine's own rules would land in this machine's /run.
 */
import { chmod, lstat, mkdir, readlink, writeFile } from "node:fs/promises";
import { dirname, join, posix } from "node:path";

/** As the kernel. */
const MAX_LINKS = 40;

/**
 * Where the image's absolute `path` lies under `root` on this machine, with every link on the way, the last one too, followed inside
 * the image. What does not exist yet is taken as it is named. @throws Error for links in a circle
 */
export async function rooted(root: string, path: string): Promise<string> {
  const todo = path.split("/");
  const done: string[] = [];
  for (let links = 0; todo.length > 0; ) {
    const name = todo.shift() ?? "";
    if (name === "" || name === ".") continue;
    if (name === "..") {
      done.pop();
      continue;
    }
    const here = join(root, ...done, name);
    const found = await lstat(here).catch(() => undefined);
    if (!found?.isSymbolicLink()) {
      done.push(name);
      continue;
    }
    if (++links > MAX_LINKS) throw new Error(`${path}: the links on the way lead in a circle`);
    const target = await readlink(here);
    if (target.startsWith("/")) done.length = 0;
    todo.unshift(...target.split("/"));
  }
  return join(root, ...done);
}

/** As rooted, but of the last name itself: a link there is what is meant, not what it leads to. @throws Error as rooted */
export async function rootedEntry(root: string, path: string): Promise<string> {
  const name = posix.basename(path);
  return name === ".." ? rooted(root, path) : join(await rooted(root, posix.dirname(path)), name);
}

/** Writes a file of the image, with the folders on the way. @param mode as it is, or as new files have it, by default */
export async function writeRooted(
  root: string,
  path: string,
  content: string | Buffer,
  mode?: number,
): Promise<void> {
  const at = await rooted(root, path);
  await mkdir(dirname(at), { recursive: true });
  await writeFile(at, content);
  if (mode !== undefined) await chmod(at, mode);
}
