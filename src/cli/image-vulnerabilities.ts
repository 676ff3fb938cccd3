/** `vireo image vulnerabilities`: what is known of the packages of an image, by a file that is given. */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
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

/** @throws UserError; with `fail` also when there is one that could be mended by an update */
export async function printVulnerabilities(
  paths: StatePaths,
  name: string,
  { from, fail }: { from: string; fail: boolean },
  print: (line: string) => void,
): Promise<void> {
  const { recipe, packages } = await builtImage(paths, name);
  const installed: InstalledPackage[] = packages.map(({ name, version, source }) => ({
    name,
    version,
    source: source ?? { name, version },
  }));
  const bytes = await readFile(from).catch((cause: unknown) => {
    throw new UserError(`${from}: no such file, or it cannot be read`, { cause });
  });
  let report: Report;
  try {
    const content = bytes.readUInt16BE(0) === 0x1f8b ? gunzipSync(bytes) : bytes;
    report = vulnerabilities(content.toString("utf8"), recipe.release, installed);
  } catch (error) {
    if (error instanceof VulnerabilityError || error instanceof RangeError)
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
}

const ABOUT = 80;
