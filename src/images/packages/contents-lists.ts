/** Debian's lists of all packages' files, fetched through apt with its checks, and made into an index (contents.ts). */
import { existsSync, statSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Apt } from "./apt.ts";
import { Contents, indexContents } from "./contents.ts";
import { PackageError } from "./package-error.ts";

/** Files of a release hardly ever move between packages. */
const CONTENTS_MAX_AGE_MS = 7 * 24 * 3600_000;
const CONTENTS_MS = 300_000;

/**
 * Which package has which file, by the release's Contents lists; fetched and indexed (10 s) when there is no index, or it is older than a week.
 * @throws Error when there is none and none can be made
 */
export async function contentsOf(apt: Apt): Promise<Contents> {
  await apt.prepareSources();
  const index = join(apt.cache, "contents.index");
  const isFresh = () =>
    Date.now() - (statSync(index, { throwIfNoEntry: false })?.mtimeMs ?? 0) < CONTENTS_MAX_AGE_MS;
  if (!isFresh())
    try {
      await apt.inTurn("contents", 2 * CONTENTS_MS, async () => {
        if (!isFresh()) await makeIndex(apt, index);
      });
    } catch (error) {
      apt.signal?.throwIfAborted();
      // Offline, an old one is better than none.
      if (!existsSync(index)) throw error;
      const made = new Date(statSync(index).mtimeMs).toISOString();
      apt.warn(
        `${error instanceof Error ? error.message : error}; going on with the lists of files of ${made}`,
      );
    }
  return Contents.open(index);
}

async function makeIndex(apt: Apt, index: string): Promise<void> {
  // Lists of their own: those of packages stay as old as they are.
  const state = join(apt.cache, "contents");
  await mkdir(join(state, "lists/partial"), { recursive: true });
  await writeFile(join(state, "status"), "");
  try {
    const options = [...apt.options(), ...contentsOptions(state)];
    await apt.update(options, CONTENTS_MS);
    const said = await apt.run(
      "apt-get",
      [...options, "indextargets", "--format", "$(FILENAME)", "Created-By: Contents"],
      { timeoutMs: 60_000 },
    );
    const lists = said.split("\n").filter(Boolean);
    if (lists.length === 0)
      throw new PackageError(`the package sources of ${apt.release} have no Contents lists`);
    await indexContents(lists, index, apt.signal);
  } finally {
    await rm(state, { recursive: true, force: true });
  }
}

/** As apt-file has them, and nothing but them. */
function contentsOptions(state: string): string[] {
  const target = (field: string, value: string) => [
    "-o",
    `Acquire::IndexTargets::deb::Contents::${field}=${value}`,
  ];
  return [
    ...[`Dir::State=${state}`, `Dir::State::lists=${join(state, "lists")}`, `Dir::Cache=${state}`].flatMap(
      (option) => ["-o", option],
    ),
    ...["Packages", "Translations", "DEP-11"].flatMap((name) => [
      "-o",
      `Acquire::IndexTargets::deb::${name}::DefaultEnabled=false`,
    ]),
    ...target("MetaKey", "$(COMPONENT)/Contents-$(ARCHITECTURE)"),
    ...target("ShortDescription", "Contents"),
    ...target("Description", "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents"),
    ...target("KeepCompressed", "true"),
  ];
}
