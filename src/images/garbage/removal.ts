/**
 * Files of one version, removed so that no half is ever taken for a whole: first the description (NAME-DIGEST.json), by which builds and imports know that all are there,
 * becomes a mark, then the files go, then the mark. Whoever is killed in between is finished by the next pass.
 */
import { readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { isFields } from "../../resource/fields.ts";

const DESCRIPTION = /^(.+-[0-9a-f]{12})\.json$/;
/** Of what is being removed, and of what is not whole yet (publish.ts). */
export const MARK = ".json.removing";

export interface Made {
  /** NAME-DIGEST, what all its files begin with. */
  base: string;
  files: string[];
  /** Since when it is there; undefined of one that is half removed, or half made. */
  sinceMs?: number;
}

/** What builds and imports have made in a pool; what users brought has no description, and is not among them. */
export async function madeIn(folder: string): Promise<Made[]> {
  const names = new Set<string>(await readdir(folder).catch(() => []));
  const made: Made[] = [];
  for (const name of names) {
    const base = DESCRIPTION.exec(name)?.[1];
    const half = name.endsWith(MARK) ? name.slice(0, -MARK.length) : undefined;
    // Made anew since then: only the mark is old.
    if (half !== undefined && names.has(`${half}.json`)) await rm(join(folder, name), { force: true });
    const of = base ?? half;
    if (of === undefined) continue;
    const described = await filesOf(join(folder, name), of);
    if (!described) continue;
    const files = [name, ...described.filter((file) => names.has(file))];
    const sinceMs = (await stat(join(folder, name))).mtimeMs;
    made.push(half === undefined ? { base: of, files, sinceMs } : { base: of, files });
  }
  return made;
}

/** The files that a description names. Undefined of a list of packages that happens to be called so, or a stranger's file. */
async function filesOf(path: string, base: string): Promise<string[] | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
  if (!isFields(value) || typeof value.file !== "string") return undefined;
  const boot = isFields(value.boot) ? [value.boot.kernel, value.boot.initrd] : [];
  const artifacts = Array.isArray(value.artifacts) ? value.artifacts : [];
  const files = [
    value.file,
    ...boot,
    ...artifacts.map((each: unknown) => (isFields(each) ? each.file : undefined)),
  ];
  const own = files.filter(
    (file) => typeof file === "string" && file.startsWith(`${base}.`) && basename(file) === file,
  );
  return own.includes(value.file) ? own.map(String) : undefined;
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
