/** Whether the programs are on this machine that images of RPMs are built with. */
import { CommandError, run } from "../../system/run.ts";
import type { RpmRelease } from "../releases.ts";

/** The programs, and Debian's package of each. */
const PROGRAMS: Readonly<Record<RpmRelease["tool"], Readonly<Record<string, string>>>> = {
  dnf: { dnf: "dnf", rpmkeys: "rpm", rpm2cpio: "rpm2cpio", curl: "curl" },
  zypper: { zypper: "zypper", rpmkeys: "rpm", rpm2cpio: "rpm2cpio" },
};

/** @throws Error with what is missing, and what would bring it */
export async function requireRpmTools({ title, tool }: RpmRelease): Promise<void> {
  const missing: string[] = [];
  for (const [program, from] of Object.entries(PROGRAMS[tool]))
    await run(program, ["--version"]).catch((error: unknown) => {
      if (!(error instanceof CommandError)) throw error;
      if (/is not installed$/.test(error.message)) missing.push(from);
    });
  if (missing.length === 0) return;
  const packages = [...new Set(missing)].join(" ");
  throw new Error(
    `recipe.distribution: images of ${title} are built by ${tool}, for which this machine lacks ${packages}; install it: apt-get install --no-install-recommends ${packages}`,
  );
}
