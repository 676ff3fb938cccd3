/** Whether the programs are on this machine that images of RPMs are built with. */
import { isInstalled } from "../../system/programs.ts";
import type { RpmRelease } from "../releases/release.ts";

/** The programs, and Debian's package of each. */
const PROGRAMS: Readonly<Record<RpmRelease["tool"], Readonly<Record<string, string>>>> = {
  dnf: { dnf: "dnf", rpmkeys: "rpm", rpm2cpio: "rpm2cpio", curl: "curl" },
  zypper: { zypper: "zypper", rpmkeys: "rpm", rpm2cpio: "rpm2cpio" },
};

/** @returns what is missing, and what would bring it, for users */
export async function missingRpmTools({ title, tool }: RpmRelease): Promise<string | undefined> {
  const missing: string[] = [];
  for (const [program, from] of Object.entries(PROGRAMS[tool]))
    if (!(await isInstalled(program))) missing.push(from);
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing)].join(" ");
  return `images of ${title} are built by ${tool}, for which the control plane's machine lacks ${packages}; install it there: apt-get install --no-install-recommends ${packages}`;
}
