/**
 * Files of one version, removed so that no half is ever taken for a whole: first the description (NAME-DIGEST.json), by which builds and imports know that all are there,
 * becomes a mark, then the files go, then the mark. Whoever is killed in between is finished by the next pass.
 */
import { readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isFields } from "../../resource/fields.ts";

const DESCRIPTION = /^(.+-[0-9a-f]{12})\.json$/;
const MARK = ".json.removing";

export interface Made {
  /** NAME-DIGEST, what all its files begin with. */
  base: string;
  files: string[];
  /** Since when it is there; undefined of one that is half removed. */
  sinceMs?: number;
}

/** What builds and imports have made in a pool; what users brought has no description, and is not among them. */
export async function madeIn(folder: string): Promise<Made[]> {
  const names: string[] = await readdir(folder).catch(() => []);
  const filesOf = (base: string) => names.filter((name) => name.startsWith(`${base}.`));
  const made: Made[] = [];
  for (const name of names) {
    const base = DESCRIPTION.exec(name)?.[1];
    if (base !== undefined && (await isDescription(join(folder, name), base)))
      made.push({ base, files: filesOf(base), sinceMs: (await stat(join(folder, name))).mtimeMs });
    else if (name.endsWith(MARK)) {
      const half = name.slice(0, -MARK.length);
      // Made anew since then: only the mark is old.
      if (names.includes(`${half}.json`)) await rm(join(folder, name), { force: true });
      else made.push({ base: half, files: filesOf(half) });
    }
  }
  return made;
}

/** A list of packages of that name, or a stranger's file, is none. */
async function isDescription(path: string, base: string): Promise<boolean> {
  const text = await readFile(path, "utf8").catch(() => "");
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) && typeof value.file === "string" && value.file.startsWith(`${base}.`);
  } catch {
    return false;
  }
}

/** @param step before each change: tests are killed there */
export async function removeMade(
  folder: string,
  { base, files }: Made,
  step: () => void = () => {},
): Promise<void> {
  const mark = `${base}${MARK}`;
  if (files.includes(`${base}.json`)) {
    step();
    await rename(join(folder, `${base}.json`), join(folder, mark));
  }
  for (const file of files) {
    if (file === `${base}.json` || file === mark) continue;
    step();
    await rm(join(folder, file), { force: true });
  }
  step();
  await rm(join(folder, mark), { force: true });
}
