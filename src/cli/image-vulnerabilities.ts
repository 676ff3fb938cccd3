/** `vireo image vulnerabilities`: what is known of the packages of an image, by a file that is given. */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { releaseOf } from "../images/releases/releases.ts";
import {
  type InstalledPackage,
  type Report,
  VulnerabilityError,
  vulnerabilities,
} from "../images/trust/vulnerabilities.ts";
import { builtImage } from "./image.ts";
import type { StatePaths } from "./paths.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

/** Of a list, as it is or by gzip. @throws UserError */
function textOf(bytes: Buffer, from: string): string {
  try {
    return (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString("utf8");
  } catch (cause) {
    throw new UserError(
      `${from}: is damaged, or too large: ${cause instanceof Error ? cause.message : cause}`,
      {
        cause,
      },
    );
  }
}

/** @throws UserError; with `fail` also when there is one that could be mended by an update, or nothing was compared */
export async function printVulnerabilities(
  paths: StatePaths,
  name: string,
  { from, fail }: { from: string; fail: boolean },
  print: (line: string) => void,
): Promise<void> {
  const { image, recipe, packages } = await builtImage(paths, name);
  // Other distributions count versions and mended ones in their own way.
  if (recipe.distribution !== "debian")
    throw new UserError(
      `image/${name} is of ${releaseOf(recipe).title}: known vulnerabilities are compared for images of Debian alone`,
    );
  // Lists name sources: of a package without one it would not be known whether the source is called as it is.
  if (!image.status?.artifacts?.some(({ format }) => format === "files"))
    throw new UserError(
      `image/${name} was built by an older Vireo, which did not keep what its packages were built from: vireo image build ${name} builds it again`,
    );
  const installed: InstalledPackage[] = packages.map(({ name, version, source }) => ({
    name,
    version,
    source: source ?? { name, version },
  }));
  const bytes = await readFile(from).catch((cause: unknown) => {
    throw new UserError(`${from}: no such file, or it cannot be read`, { cause });
  });
  const text = textOf(bytes, from);
  let report: Report;
  try {
    report = vulnerabilities(text, recipe.release, installed);
  } catch (error) {
    if (error instanceof VulnerabilityError)
      throw new UserError(`${from}: ${error.message}`, { cause: error });
    throw error;
  }
  const { found, unimportant, checked } = report;
  if (found.length > 0)
    print(
      table(
        ["PACKAGE", "VERSION", "VULNERABILITY", "MENDED IN", "URGENCY", "ABOUT"],
        found.map((each) => [
          each.package,
          each.version,
          each.id,
          each.fixed ?? "-",
          each.urgency ?? "-",
          each.summary.split("\n")[0]?.slice(0, ABOUT) ?? "",
        ]),
      ),
    );
  const mended = found.filter(({ fixed }) => fixed !== undefined).length;
  const told = [
    `image/${name}: ${new Set(found.map(({ id }) => id)).size} known vulnerabilities in ${new Set(found.map((each) => each.package)).size} of ${packages.length} packages`,
    ...(unimportant > 0 ? [`${unimportant} unimportant ones are left out`] : []),
    `${checked} entries of ${from} are about its packages`,
  ];
  print(told.join("; "));
  if (fail && mended > 0)
    throw new UserError(
      `${mended} of them are mended in newer packages: vireo image build ${name} takes those`,
    );
  if (fail && checked === 0)
    throw new UserError(
      `${from}: has nothing about the packages of image/${name}, which are of ${recipe.release}: is it a list of that release?`,
    );
}

const ABOUT = 80;
