/** What the files of an application need, each by what it is: ELF, a script of some language, a jar. */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { LanguageVersions } from "../releases/release.ts";
import { readElf } from "../rootfs/elf.ts";
import { type AppFile, type Application, ApplicationError, headOf } from "./application.ts";
import { elfNeeds } from "./elf-needs.ts";
import { jarNeeds, javaNeeds } from "./java.ts";
import { lessSure, type Need, programNeed, VERSIONS } from "./needs.ts";
import { placeNeeds } from "./places.ts";
import { pythonNeeds } from "./python.ts";
import { nodeDependencies, nodeNeeds, perlNeeds, rubyNeeds, shellNeeds, sourcedBy } from "./scripts.ts";

type Language = "python" | "perl" | "ruby" | "node" | "shell";

const ENDINGS: Record<string, Language> = {
  py: "python",
  pl: "perl",
  pm: "perl",
  rb: "ruby",
  js: "node",
  mjs: "node",
  cjs: "node",
  sh: "shell",
};
const INTERPRETERS: readonly (readonly [RegExp, Language, string])[] = [
  [/^python[\d.]*$/, "python", "python3"],
  [/^perl[\d.]*$/, "perl", "perl"],
  [/^ruby[\d.]*$/, "ruby", "ruby"],
  [/^node(?:js)?$/, "node", "node"],
  [/^(?:ba|da|k|z|mk)?sh$/, "shell", "sh"],
];
const RUN_BY: Partial<Record<Language, string>> = {
  python: "python3",
  perl: "perl",
  ruby: "ruby",
  node: "node",
};
const MAX_SCRIPT = 2 ** 20;
/** Larger ones are read to know what they are, no further. */
const MAX_BYTES = 2 ** 28;
const HEAD_BYTES = 256;
/** What is there for those who make or try the application. */
const ASIDE = /(?:^|\/)(?:tests?|testing|testsuite|docs?|examples?|samples?|demos?|benchmarks?|contrib)\//i;

/** @throws Error of the file system, or for a release that is not known */
export async function readNeeds(app: Application, release: string, signal?: AbortSignal): Promise<Need[]> {
  const versions = Object.hasOwn(VERSIONS, release) ? VERSIONS[release] : undefined;
  if (!versions)
    throw new ApplicationError(
      `--release: ${JSON.stringify(release)} is not known; it is ${Object.keys(VERSIONS).join(" or ")}`,
    );
  const needs: Need[] = app.links.map(({ name, target }) => ({
    file: name,
    how: "link to",
    what: target,
    paths: [target.slice(1)],
    confidence: "likely",
  }));
  needs.push(...placeNeeds([...app.files, ...app.copies].map(({ name }) => name)));
  const sourced = await sourcedFiles(app);
  for (const file of app.files) {
    signal?.throwIfAborted();
    needs.push(...(await needsOf(app, file, versions, sourced)));
  }
  return needs;
}

/** Files without a first line that shell scripts read into themselves: by their paths. */
async function sourcedFiles(app: Application): Promise<Set<string>> {
  const plain = new Map<string, AppFile[]>();
  const scripts: AppFile[] = [];
  for (const file of app.files) {
    if (file.bytes === 0 || file.bytes > MAX_SCRIPT) continue;
    const name = basename(file.name);
    const [, language] = shebang((await headOf(file.path, HEAD_BYTES)).toString("latin1"), file.name);
    if (language === "shell" || name.endsWith(".sh")) scripts.push(file);
    else if (!language) plain.set(name, [...(plain.get(name) ?? []), file]);
  }
  const found = new Set<string>();
  for (let script = scripts.pop(); script; script = scripts.pop())
    for (const name of sourcedBy(await readFile(script.path, "utf8")))
      for (const file of plain.get(name) ?? [])
        if (!found.has(file.path)) {
          found.add(file.path);
          scripts.push(file);
        }
  return found;
}

async function needsOf(
  app: Application,
  file: AppFile,
  versions: LanguageVersions,
  sourced: ReadonlySet<string>,
): Promise<Need[]> {
  if (file.bytes === 0 || file.bytes > MAX_BYTES) return [];
  const needs = await allNeeds(app, file, versions, sourced.has(file.path));
  if (!ASIDE.test(file.name)) return needs;
  return needs.map((need) => ({ ...need, confidence: lessSure(need.confidence, "possible") }));
}

async function allNeeds(
  app: Application,
  { path, name, isExecutable }: AppFile,
  versions: LanguageVersions,
  isSourced: boolean,
): Promise<Need[]> {
  const head = await headOf(path, HEAD_BYTES);
  const isElf = head.length > 4 && head.readUInt32BE(0) === 0x7f454c46;
  if (isElf) {
    const bytes = await readFile(path);
    const elf = readElf(bytes);
    const python = /\.cpython-\d+[^/]*\.so$|\.abi3\.so$/.test(name)
      ? [runBy("python", name, "module of Python")]
      : [];
    return elf ? [...python, ...elfNeeds(elf, bytes, name, app.hasLibrary)] : [];
  }
  if (head.length > 7 && head.readUInt32BE(0) === 0xcafebabe)
    return javaNeeds([await readFile(path)], name, versions);
  if (/\.(?:jar|war|ear)$/.test(name))
    return jarNeeds(await readFile(path), name, versions, (jar) => app.hasFile(jar));
  if (basename(name) === "package.json")
    return nodeDependencies(await readFile(path, "utf8"), name, app.hasNode);

  const [needs, language] = shebang(head.toString("latin1"), name);
  const ending = /\.([a-z]+)$/.exec(name)?.[1] ?? "";
  const spoken =
    language ?? (Object.hasOwn(ENDINGS, ending) ? ENDINGS[ending] : isSourced ? "shell" : undefined);
  if (!spoken) return needs;
  const byEnding = language === undefined && RUN_BY[spoken] && isProgramOf(name, isExecutable);
  return [
    ...needs,
    ...(byEnding ? [runBy(spoken, name, `file of ${spoken}`)] : []),
    ...read(spoken, await readFile(path, "utf8"), app, name, versions),
  ];
}

/** JavaScript may be for browsers. */
const isProgramOf = (name: string, isExecutable: boolean) => !/\.[cm]?js$/.test(name) || isExecutable;

function runBy(language: Language, file: string, how: string): Need {
  return programNeed(RUN_BY[language] ?? language, { file, how, confidence: "certain" });
}

function shebang(head: string, file: string): [Need[], Language | undefined] {
  const [, program = "", ...words] = /^#![ \t]*(\S+)[ \t]*(.*)/.exec(head) ?? [];
  if (!program) return [[], undefined];
  const viaEnv = basename(program) === "env";
  // "env -S node --flag" has options first.
  const called = viaEnv
    ? (words
        .join(" ")
        .split(/\s+/)
        .find((word) => word && !/^-|=/.test(word)) ?? "")
    : program;
  const name = basename(called);
  const known = INTERPRETERS.find(([pattern]) => pattern.test(name));
  // Ways of other systems to the same program.
  const asDebian = known && !/^python\d\.\d/.test(name) && known[1] !== "shell" ? known[2] : called;
  return [[programNeed(asDebian, { file, how: "#!", confidence: "certain" })], known?.[1]];
}

function read(
  language: Language,
  text: string,
  app: Application,
  name: string,
  versions: LanguageVersions,
): Need[] {
  switch (language) {
    case "python":
      return pythonNeeds(text, name, versions, (module) => app.hasPython(module, name));
    case "perl":
      return perlNeeds(text, name, versions, app.hasFile);
    case "ruby":
      return rubyNeeds(text, name, versions, app.hasFile);
    case "node":
      return nodeNeeds(text, name, app.hasNode);
    case "shell":
      return shellNeeds(text, name, app.hasFile);
  }
}
