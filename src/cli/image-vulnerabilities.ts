/** `vireo image vulnerabilities`: what is known of the packages of an image, by a file that is given. */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { describeReport, installedOf, whyNotCompared } from "../images/trust/standing.ts";
import { type Report, VulnerabilityError, vulnerabilities } from "../images/trust/vulnerabilities.ts";
import { builtImage } from "./image.ts";
import type { Place } from "./resources.ts";
import { table } from "./table.ts";
import { UserError, unreadable } from "./user-error.ts";

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
  place: Place,
  name: string,
  { from, fail }: { from: string; fail: boolean },
  print: (line: string) => void,
): Promise<void> {
  const { image, recipe, packages } = await builtImage(place, name);
  const why = whyNotCompared(image);
  if (why) throw new UserError(`image/${name} ${why}`);
  const bytes = await readFile(from).catch((cause: unknown) => {
    throw unreadable(from, cause);
  });
  const text = textOf(bytes, from);
  let report: Report;
  try {
    report = vulnerabilities(text, recipe.release, installedOf(packages));
  } catch (error) {
    if (error instanceof VulnerabilityError)
      throw new UserError(`${from}: ${error.message}`, { cause: error });
    throw error;
  }
  const { found } = report;
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
  const of = { name: `image/${name}`, release: recipe.release, packages: packages.length };
  const { words, mended, nothing } = describeReport(report, of, from);
  print(`image/${name}: ${words}`);
  if (fail && mended > 0)
    throw new UserError(
      `${mended} of them are mended in newer packages: vireo image build ${name} takes those`,
    );
  if (fail && nothing) throw new UserError(`${from}: ${nothing}`);
}

const ABOUT = 80;
