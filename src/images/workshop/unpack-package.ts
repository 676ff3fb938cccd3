/** A package unpacked: its files, whatever its scripts would make of them. */
import { posix } from "node:path";
import { run } from "../../system/run.ts";
import type { Workshop } from "./workshop.ts";

/** Below /usr/share, of .debs: what only people read. */
const UNWANTED = ["doc", "man", "info", "locale", "lintian", "bug", "bash-completion", "doc-base"];

/** rpm2cpio writes what cpio reads; both know the names without "./", which cpio adds by itself. */
const UNPACK_RPM = 'rpm2cpio "$1" | { shift; cd "$1"; cpio -idmuv --quiet --no-absolute-filenames 2>&1; }';
/** The folders below / are links into /usr, as Debian has them; tar must not put folders in their place. */
const UNPACK_DEB = 'dpkg-deb --fsys-tarfile "$1" | { shift; tar -xv --keep-directory-symlink -C "$@"; }';

/** @param members of a .deb; all by default. @returns the absolute paths that the package has. @throws Error */
export async function unpackPackage(
  work: Workshop,
  file: string,
  root: string,
  members: readonly string[] = [],
): Promise<string[]> {
  const excludes = UNWANTED.map((name) => `--exclude=./usr/share/${name}/*`);
  const args = file.endsWith(".rpm")
    ? ["-ec", UNPACK_RPM, "sh", file, root]
    : ["-ec", UNPACK_DEB, "sh", file, root, ...excludes, ...members];
  const { signal } = work;
  const said = await run("sh", args, { timeoutMs: 120_000, ...(signal ? { signal } : {}) });
  const paths = said
    .split("\n")
    .filter((line) => line.startsWith("./"))
    .map((line) => line.slice(1));
  work.log(`unpacked ${posix.basename(file)}: ${paths.length} files and folders`);
  return paths;
}
