/**
 * What packages bring, read from their files before any of them is unpacked or installed: names of their files and folders, and what their scripts say, which in full images will run. It is
 * kept, of each package for itself.
 */
import { readFile, writeFile } from "node:fs/promises";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { run } from "../../system/run.ts";
import type { Package } from "../packages/packages.ts";
import { merged } from "../rootfs/layers.ts";
import { runRpm } from "../rpm/run-tool.ts";
import { cached } from "../workshop/cache.ts";
import type { Workshop } from "../workshop/workshop.ts";

const PackageList = Type.Object({
  /** Absolute, with /bin, /sbin and /lib in /usr; links, too. */
  files: Type.Array(Type.String()),
  folders: Type.Array(Type.String()),
  /** Its scripts, and texts that make groups and units. */
  said: Type.String(),
});
export type PackageList = Type.Static<typeof PackageList>;

/** Raised when more or other things are kept of a package. */
const VERSION = 1;
const READ_MS = 120_000;

/** Texts that say which groups there will be, and which other names units have. */
const TELLING =
  /^\/usr\/(?:share\/base-passwd\/group\.master|lib\/sysusers\.d\/.*\.conf|lib\/systemd\/system\/[^/]*\.service)$|^\/etc\/group$/;
/** Of these texts only the lines of group(5) and sysusers.d(5), and other names of units: units name many that nobody brings. */
const TELLING_LINE = /^(?:Alias=.*|[a-z_][\w-]*:[^:\n]*:\d+:.*|[gum]!?\s.*)$/gm;

/** @returns in the order of `packages`. @throws Error for a package that cannot be read */
export async function listPackages(work: Workshop, packages: readonly Package[]): Promise<PackageList[]> {
  const lists: PackageList[] = [];
  for (const { file, sha256 } of packages) {
    work.signal?.throwIfAborted();
    const kept = await cached(work.cache, "lists", `${VERSION}-${sha256}`, async (path) =>
      // Or a power cut might leave one that is empty, for ever.
      writeFile(path, JSON.stringify(await listOf(file, work.signal)), { flush: true }),
    );
    lists.push(Value.Parse(PackageList, JSON.parse(await readFile(kept, "utf8"))));
  }
  return lists;
}

async function listOf(file: string, signal: AbortSignal | undefined): Promise<PackageList> {
  const options = { timeoutMs: READ_MS, ...(signal ? { signal } : {}) };
  const sh = (script: string, ...args: string[]) => run("sh", ["-ec", script, "sh", ...args], options);
  const isRpm = file.endsWith(".rpm");
  const rpm = (...args: string[]) => runRpm(["-qp", "--nosignature", ...args, file], options);
  const names = isRpm
    ? (await rpm("--qf", "[%{FILEMODES:perms}|%{FILENAMES}\\n]"))
        .split("\n")
        .flatMap((line) => (line.startsWith("d") ? [`${line.slice(11)}/`] : line ? [line.slice(11)] : []))
    : (await sh('dpkg-deb --fsys-tarfile "$1" | tar -t --quoting-style=literal', file))
        .split("\n")
        .flatMap((line) => (line.startsWith("./") ? [line.slice(1)] : []));
  const files = names.filter((name) => !name.endsWith("/")).map(merged);
  const folders = names.filter((name) => /.\/$/.test(name)).map((name) => merged(name).slice(0, -1));
  const members = names.filter((name) => TELLING.test(merged(name))).map((name) => `.${name}`);
  const scripts = isRpm
    ? await rpm("--scripts", "--provides")
    : await sh(
        "dpkg-deb --ctrl-tarfile \"$1\" | tar -xO --wildcards './p*inst' './config' 2>&1 || true",
        file,
      );
  const extract = isRpm
    ? 'rpm2cpio "$1" | { shift; cpio -i --to-stdout --quiet "$@"; }'
    : 'dpkg-deb --fsys-tarfile "$1" | { shift; tar -xO "$@"; }';
  const texts = members.length > 0 ? await sh(extract, file, ...members) : "";
  return { files, folders, said: [scripts, ...(texts.match(TELLING_LINE) ?? [])].join("\n") };
}
