/** Needs become packages: the paths of each are looked up in what the distribution's packages have. */
import type { Contents } from "../packages/contents.ts";
import { ARCHITECTURE, CONFIDENCES, type Confidence, type Need, surer } from "./needs.ts";

export interface Evidence {
  file: string;
  how: string;
  what: string;
  /** What the package has of it. */
  path: string;
  confidence: Confidence;
}

/** A package, and why. */
export interface Finding {
  package: string;
  confidence: Confidence;
  /** The surest first. */
  evidence: Evidence[];
  /** Other packages that have the same. */
  alternatives: string[];
  /** A package of the recipe that brings it along. */
  comesWith?: string;
  /** busybox does for it in a slim image: it is of Debian's essential ones. */
  isEssential: boolean;
}

export interface Found {
  findings: Finding[];
  /** What no package has. */
  missing: Need[];
}

/** Always there in Debian, and done by busybox in slim images; bash and perl-base are not. */
const ESSENTIAL = new Set(
  `base-files base-passwd bsdutils coreutils dash debianutils diffutils dpkg findutils grep gzip hostname init-system-helpers libc-bin login mawk mount ncurses-base
  ncurses-bin procps sed sysvinit-utils tar util-linux`.split(/\s+/),
);

/** Parts of a language's runtime, which nobody asks for by their own names. */
const WHOLES: readonly (readonly [RegExp, string])[] = [
  [/^(?:lib)?python3(?:\.\d+)?(?:-minimal|-stdlib)$/, "python3"],
  [/^perl-modules-[\d.]+$|^libperl[\d.]+$/, "perl"],
  [/^libruby[\d.]*$/, "ruby"],
];

/** How many files a "*" is tried with. */
const MOST = 4000;

export async function findPackages(contents: Contents, needs: readonly Need[]): Promise<Found> {
  const findings = new Map<string, Finding>();
  const missing: Need[] = [];
  const known = new Map<string, Promise<Place | undefined>>();
  for (const need of needs) {
    const key = JSON.stringify([need.paths, need.soname]);
    const place = known.get(key) ?? locate(contents, need);
    known.set(key, place);
    const found = await place;
    if (!found) {
      missing.push(need);
      continue;
    }
    const { file, how, what } = need;
    const evidence = { file, how, what, path: found.path, confidence: need.confidence };
    const before = findings.get(found.package);
    if (!before) {
      const { alternatives } = found;
      const isEssential = ESSENTIAL.has(found.package);
      const { confidence } = need;
      findings.set(found.package, {
        package: found.package,
        confidence,
        evidence: [evidence],
        alternatives,
        isEssential,
      });
    } else {
      before.confidence = surer(before.confidence, need.confidence);
      before.evidence.push(evidence);
    }
  }
  const all = [...findings.values()].sort((a, b) => (a.package < b.package ? -1 : 1));
  for (const finding of all) {
    finding.evidence.sort((a, b) => bySureness(a) - bySureness(b));
    if (finding.evidence.some(isData)) finding.isEssential = false;
  }
  return { findings: all, missing };
}

/** A file that a run opened: busybox has programs alone. */
const isData = ({ how, path }: Evidence) => how === "opened" && !/^(?:usr\/)?s?bin\//.test(path);

const bySureness = ({ confidence }: Evidence) => CONFIDENCES.indexOf(confidence);

interface Place {
  path: string;
  package: string;
  alternatives: string[];
}

async function locate(contents: Contents, need: Need): Promise<Place | undefined> {
  for (const path of need.paths) {
    const found = await lookUp(contents, path);
    const place = found && choose(found.path, found.packages, need.soname);
    if (place) return place;
  }
  if (need.soname === undefined) return undefined;
  // In a folder of its own: of a package that adds it to the linker's folders, or of the alternatives system.
  const elsewhere = contents.pathsOfLibrary(need.soname).filter((path) => path.includes(`/${ARCHITECTURE}/`));
  const packages = new Map<string, string>();
  for (const path of elsewhere)
    for (const name of (await contents.packagesOf(path))?.packages ?? []) packages.set(name, path);
  const place = choose("", [...packages.keys()], need.soname);
  return place && { ...place, path: packages.get(place.package) ?? "" };
}

async function lookUp(contents: Contents, path: string) {
  const star = path.indexOf("*");
  if (star < 0) return contents.packagesOf(path);
  const [begin, end] = [path.slice(0, star), path.slice(star + 1)];
  const found = (await contents.below(begin, MOST)).filter(({ path }) => path.endsWith(end));
  const all = new Set(found.flatMap(({ packages }) => packages));
  if (all.size === 1) return found[0];
  // A folder that several packages share says nothing, unless one of them has its name.
  const named = begin.split("/").find((folder) => all.has(folder));
  const first = found.find(({ packages }) => packages.includes(named ?? ""));
  return named !== undefined && first ? { path: first.path, packages: [named] } : undefined;
}

/** Of several packages with the same file the one that is named after it. */
function choose(path: string, packages: readonly string[], soname?: string): Place | undefined {
  const usable = packages.filter((name) => !/-(?:dev|dbg|dbgsym|cross|doc)$/.test(name));
  const wanted = soname && nameOfLibrary(soname);
  const near = (name: string) => (name === wanted ? 0 : wanted && name.startsWith(wanted) ? 1 : 2);
  const [best, ...rest] = [...usable].sort(
    (a, b) => near(a) - near(b) || a.length - b.length || (a < b ? -1 : 1),
  );
  if (!best) return undefined;
  const whole = (name: string) => WHOLES.find(([pattern]) => pattern.test(name))?.[1] ?? name;
  return { path, package: whole(best), alternatives: rest.map(whole).filter((name) => name !== whole(best)) };
}

/** libz.so.1 -> libz1, libpng16.so.16 -> libpng16-16: as Debian's policy has it (8.1). */
function nameOfLibrary(file: string): string {
  const [, name = file, version = ""] = /^(.+?)\.so\.?([\d.]*)$/.exec(file) ?? [];
  return `${name}${/\d$/.test(name) && version ? "-" : ""}${version}`.toLowerCase().replaceAll("_", "-");
}

/** Those that a recipe has to name: needed for sure or in the usual run, not done by what every image has, nor brought by another. */
export const forRecipe = (findings: readonly Finding[]): Finding[] =>
  findings.filter(
    ({ confidence, isEssential, comesWith }) =>
      confidence !== "possible" && !isEssential && comesWith === undefined,
  );

/** Marks those that others of the recipe bring along. @param brought package -> the one that brings it, of the given names */
export async function markBrought(
  findings: readonly Finding[],
  brought: (names: readonly string[]) => Promise<ReadonlyMap<string, string>>,
): Promise<void> {
  const by = await brought(forRecipe(findings).map((finding) => finding.package));
  for (const finding of findings) {
    const other = by.get(finding.package);
    if (other !== undefined) finding.comesWith = other;
  }
}
