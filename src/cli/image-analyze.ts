/** `vireo image analyze`: which packages an application needs, and why; a recipe of them. Needs no installation. */
import { constants } from "node:fs";
import { access, mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { type Analyzed, analyzeApplication, type Subject } from "../images/analyze/analyze.ts";
import { ApplicationError } from "../images/analyze/application.ts";
import { forRecipe, markBrought } from "../images/analyze/distribution.ts";
import {
  archiveOf,
  movedCommand,
  recipeFiles,
  recipeFolders,
  serviceCommand,
} from "../images/analyze/own-files.ts";
import { recipeText, told } from "../images/analyze/recipe-of.ts";
import { locate } from "../images/analyze/source.ts";
import { lookAt, quoted, traceRun } from "../images/analyze/trace.ts";
import { PackageError } from "../images/packages/package-error.ts";
import { Packages } from "../images/packages/packages.ts";
import { CACHE } from "./paths.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

export interface AnalyzeRequest {
  /** A file, a folder, an archive or a URL. */
  what?: string;
  /** A command that is run and watched. */
  run?: string;
  /** How long at most, in ms. */
  for: number;
  /** A process that is looked at. */
  pid?: number;
  release: string;
  /** Where the recipe goes. */
  output?: string;
  /** The image has no more of packages than the run needs. */
  minimize: boolean;
  /** All evidence is shown, not the surest alone. */
  evidence: boolean;
  signal: AbortSignal;
}

type Print = (line: string) => void;

/** @throws UserError */
export async function analyze(request: AnalyzeRequest, print: Print): Promise<void> {
  const { what, run, pid, release, signal } = request;
  if (what === undefined && run === undefined && pid === undefined)
    throw new UserError("name the application: a path or URL of it, --run COMMAND, or --pid N");
  if (request.minimize && run === undefined)
    throw new UserError(
      "--minimize: give --run COMMAND, too: what an application needs is known when it has done all of its work; what a process has open now is not all",
    );
  const scratch = await mkdtemp(join(tmpdir(), "vireo-analyze-"));
  try {
    const traces: Subject["traces"][number][] = [];
    let words: string[] | undefined;
    if (pid !== undefined) {
      const running = lookAt(pid);
      words = running.command;
      traces.push({ name: `process ${pid}`, trace: running });
    }
    const path = what === undefined ? undefined : await locate(what, scratch, signal);
    if (run !== undefined) {
      const trace = await traceRun(run, join(scratch, "trace"), { limitMs: request.for, signal });
      traces.push({ name: "the run", trace });
    }
    const warn = (text: string) => print(`warning: ${text}`);
    const packages = new Packages(await cacheFolder(), release, undefined, { warn });
    const contents = await packages.contents();
    const subject: Subject = {
      traces,
      ...(path === undefined ? {} : { path: await realpath(path), isUnpacked: path.startsWith(scratch) }),
    };
    const analyzed = await analyzeApplication(subject, contents, release).finally(() => contents.close());
    await markBrought(analyzed.findings, (names) => packages.broughtAlong(names));
    show(analyzed, request, print);
    if (request.output === undefined) return;
    const { findings } = analyzed;
    const traced = request.minimize ? analyzed.traced : undefined;
    const tracedBytes = JSON.stringify(traced ?? []).length;
    if (tracedBytes > MAX_TRACED_BYTES)
      throw new UserError(
        `--minimize: the run has used ${analyzed.traced.length} files of packages, more than a recipe can name; leave it out`,
      );
    const own = await recipeFiles(analyzed.files, tracedBytes);
    // Links to what packages have are only in archives.
    const isCarried = "files" in own && analyzed.links.every(({ isOwn }) => isOwn);
    const files = isCarried ? own.files : [];
    const archive = isCarried ? undefined : await archiveOf(request.output, analyzed.files, analyzed.links);
    const archives = archive ? [archive] : [];
    const { place } = analyzed;
    const moved = (text: string) =>
      subject.path === undefined || place === undefined
        ? text
        : movedCommand(text, subject.path, place, process.cwd());
    const command = run === undefined ? words && quoted(words.map(moved)) : moved(run.trim());
    const { directories, left } = recipeFolders(analyzed.folders, subject.path, place);
    if (left.length > 0)
      warn(
        `the run has written to more folders than a recipe can name; make ${left.length} of them otherwise (as "folder/" in archives, say): ${left.slice(0, SHOWN).join(", ")}${left.length > SHOWN ? ", …" : ""}`,
      );
    const service = command === undefined ? undefined : serviceCommand(command);
    const services = service === undefined ? [] : [{ name: serviceName(command ?? ""), command: service }];
    const asked = ["vireo image analyze", what, run && `--run '${run}'`, pid && `--pid ${pid}`].filter(
      Boolean,
    );
    const text = recipeText({
      asked: asked.join(" "),
      release,
      findings,
      services,
      files,
      archives,
      directories,
      traced,
    });
    await writeFile(request.output, text);
    if (archive)
      print(
        `\nthe application's own ${analyzed.files.length} files (${(archive.bytes / 2 ** 20).toFixed(1)} MiB) are in ${join(dirname(request.output), archive.file)}; keep it beside the recipe`,
      );
    if (command !== undefined && service === undefined)
      print(
        "\nthe command has several lines and is no service in the recipe: put them into a script (files), and name that in services",
      );
    if (pid !== undefined && command === undefined)
      print(
        `\nprocess ${pid} has put a title in the place of its command: add what it is started with to the recipe's services`,
      );
    print(
      `${request.output}: ${forRecipe(findings).length} packages; vireo image build ${request.output} builds it`,
    );
  } catch (error) {
    if (error instanceof ApplicationError || error instanceof PackageError)
      throw new UserError(error.message, { cause: error });
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Of the program: "/usr/sbin/nginx -g x" -> "nginx". */
const serviceName = (command: string) =>
  basename(/\S+/.exec(command)?.[0] ?? "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63) || "application";

/** The installation's; of a user who may not write there one of their own. */
async function cacheFolder(): Promise<string> {
  try {
    await mkdir(CACHE, { recursive: true });
    await access(CACHE, constants.W_OK);
    return CACHE;
  } catch {
    return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "vireo");
  }
}

/** A recipe is kept with the image in the store; some ten thousand names. */
const MAX_TRACED_BYTES = 2 ** 19;
/** How many of its own files are shown. */
const SHOWN = 20;

function show({ findings, missing, own }: Analyzed, request: AnalyzeRequest, print: Print): void {
  if (findings.length === 0) print("nothing in it needs a package");
  else {
    const chosen = forRecipe(findings);
    const rest = findings.filter((finding) => !chosen.includes(finding));
    const rows = [...chosen, ...rest].flatMap((finding) => {
      const { confidence, evidence, alternatives, isEssential, comesWith } = finding;
      const more = evidence.length > 1 && !request.evidence ? `, and ${evidence.length - 1} more` : "";
      const or = alternatives.length > 0 ? ` (or ${alternatives.join(", ")})` : "";
      const note = isEssential
        ? " (busybox does for it in slim images)"
        : comesWith
          ? ` (comes with ${comesWith})`
          : "";
      const lines = (request.evidence ? evidence : evidence.slice(0, 1)).map(told);
      return lines.map((line, i) =>
        i === 0 ? [finding.package, confidence, `${line}${more}${or}${note}`] : ["", "", line],
      );
    });
    print(table(["PACKAGE", "NEEDED", "BECAUSE"], rows));
  }
  const lost = missing.filter(({ confidence }) => confidence !== "possible");
  if (lost.length > 0) print(`\nno package of ${request.release} has:`);
  for (const { what, file, how } of lost) print(`  ${what}  (${file}: ${how})`);
  if (own.length > 0) print("\nfiles that were opened and are of no package:");
  for (const file of own.slice(0, SHOWN)) print(`  ${file}`);
  if (own.length > SHOWN) print(`  and ${own.length - SHOWN} more`);
}
