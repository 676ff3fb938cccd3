/**
 * A repository of exactly the packages of an image, from the cache: whoever installs from it has no choice of versions and needs no network,
 * and the same lock gives the same system.
 */
import { mkdir, open, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { run } from "../../system/run.ts";
import { ESSENTIAL, type Package } from "../packages/packages.ts";
import { inWorkshop, step, type Workshop } from "../workshop/workshop.ts";

/** dpkg-deb is asked for so many at once. */
const AT_ONCE = 4;

export interface LocalRepository {
  /** A line of sources.list. */
  source: string;
  /** @returns those that the essential packages and the named ones need. @throws CommandError */
  closure: (names: readonly string[]) => Promise<Package[]>;
}

/** @throws Error */
export async function localRepository(work: Workshop, debs: readonly Package[]): Promise<LocalRepository> {
  const folder = inWorkshop(work, "repository");
  await mkdir(folder);
  const entries = new Map<string, string>();
  const waiting = [...debs];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let deb = waiting.shift(); deb; deb = waiting.shift()) {
        work.signal?.throwIfAborted();
        entries.set(deb.name, await entryOf(folder, deb));
      }
    }),
  );
  await writeFile(join(folder, "Packages"), debs.map(({ name }) => `${entries.get(name)}\n\n`).join(""));
  const source = `deb [trusted=yes] copy:${encodeURI(folder)} ./`;
  return { source, closure: (names) => closure(work, source, debs, names) };
}

/** @returns its paragraph of Packages */
async function entryOf(folder: string, { file, sha256 }: Package): Promise<string> {
  const name = basename(file);
  await symlink(file, join(folder, name));
  const control = (await run("dpkg-deb", ["-f", file])).trimEnd();
  const handle = await open(file);
  const { size } = await handle.stat().finally(() => handle.close());
  return `${control}\nFilename: ./${name}\nSize: ${size}\nSHA256: ${sha256}`;
}

async function closure(
  work: Workshop,
  source: string,
  debs: readonly Package[],
  names: readonly string[],
): Promise<Package[]> {
  const apt = inWorkshop(work, "apt");
  for (const name of ["state/lists/partial", "cache/archives/partial"])
    await mkdir(join(apt, name), { recursive: true });
  await writeFile(join(apt, "status"), "");
  await writeFile(join(apt, "sources.list"), `${source}\n`);
  const options = [
    "-qq",
    "--no-install-recommends",
    ...[
      `Dir::State=${join(apt, "state")}`,
      `Dir::State::status=${join(apt, "status")}`,
      `Dir::Cache=${join(apt, "cache")}`,
      `Dir::Etc::sourcelist=${join(apt, "sources.list")}`,
      "Dir::Etc::sourceparts=/dev/null",
      "APT::Sandbox::User=root",
    ].flatMap((option) => ["-o", option]),
  ];
  await step(work, "apt-get", [...options, "update"]);
  const plan = await step(work, "apt-get", [...options, "-s", "install", ESSENTIAL, ...names]);
  const needed = new Set([...plan.matchAll(/^Inst (\S+) /gm)].map(([, name = ""]) => name));
  return debs.filter(({ name }) => needed.has(name));
}
