/** `vireo image analyze`: which packages an application needs, and why; a recipe of them. Needs no installation. */
import { constants } from "node:fs";
import { access, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { packagesFor, readNeeds } from "../images/analyze/analyze.ts";
import { ApplicationError, readApplication } from "../images/analyze/application.ts";
import { type Finding, forRecipe } from "../images/analyze/distribution.ts";
import type { Need } from "../images/analyze/needs.ts";
import { recipeText, told } from "../images/analyze/recipe-of.ts";
import { installedPath, locate } from "../images/analyze/source.ts";
import { CACHE } from "./paths.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

export interface AnalyzeRequest {
  /** A file, a folder, an archive or a URL. */
  what: string;
  release: string;
  /** Where the recipe goes. */
  output?: string;
  /** All evidence is shown, not the surest alone. */
  evidence: boolean;
  signal: AbortSignal;
}

/** @throws UserError */
export async function analyze(request: AnalyzeRequest, print: (line: string) => void): Promise<void> {
  const { what, release, signal } = request;
  const scratch = await mkdtemp(join(tmpdir(), "vireo-analyze-"));
  try {
    const path = await locate(what, scratch, signal);
    const needs: Need[] = [];
    const installed = await installedPath(path);
    if (installed) needs.push(itself(installed));
    needs.push(...(await readNeeds(await readApplication(path), release, signal)));
    const { findings, missing } = await packagesFor(needs, { cache: await cacheFolder(), release, signal });
    show(findings, missing, request, print);
    if (request.output !== undefined) {
      const asked = `vireo image analyze ${what}`;
      await writeFile(request.output, recipeText({ asked, release, findings, services: [] }));
      print(
        `${request.output}: ${forRecipe(findings).length} packages; vireo image build ${request.output} builds it`,
      );
    }
  } catch (error) {
    if (error instanceof ApplicationError) throw new UserError(error.message, { cause: error });
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A program where packages put theirs is perhaps of one. */
const itself = (path: string): Need => ({
  file: path,
  how: "is",
  what: path,
  paths: [path.slice(1)],
  confidence: "certain",
});

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

function show(
  findings: readonly Finding[],
  missing: readonly Need[],
  { release, evidence: all }: AnalyzeRequest,
  print: (line: string) => void,
): void {
  if (findings.length === 0) print("nothing in it needs a package");
  else {
    const rows = findings.flatMap((finding) => {
      const { confidence, evidence, alternatives, isEssential } = finding;
      const more = evidence.length > 1 && !all ? `, and ${evidence.length - 1} more` : "";
      const or = alternatives.length > 0 ? ` (or ${alternatives.join(", ")})` : "";
      const note = isEssential ? " (busybox does for it in slim images)" : "";
      const lines = (all ? evidence : evidence.slice(0, 1)).map(told);
      return lines.map((line, i) =>
        i === 0 ? [finding.package, confidence, `${line}${more}${or}${note}`] : ["", "", line],
      );
    });
    print(table(["PACKAGE", "NEEDED", "BECAUSE"], rows));
  }
  const lost = missing.filter(({ confidence }) => confidence !== "possible");
  if (lost.length === 0) return;
  print(`\nno package of ${release} has:`);
  for (const { what, file, how } of lost) print(`  ${what}  (${file}: ${how})`);
}
