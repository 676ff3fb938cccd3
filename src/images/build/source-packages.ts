/** Source packages, of which binary packages are built. */
import { run } from "../../system/run.ts";
import type { Package } from "../packages/packages.ts";
import { describe } from "../rpm/describe.ts";

interface Source {
  name: string;
  version: string;
}

/**
 * The source package of each, by which lists of vulnerabilities name it; undefined where it has the same name and version. @throws CommandError
 */
export async function sourcesOf(
  packages: readonly Package[],
  signal?: AbortSignal,
): Promise<(Source | undefined)[]> {
  const isDeb = ({ arch }: Package) => arch === undefined;
  const debs = packages.filter(isDeb);
  const ofDebs = await sourcesOfDebs(debs, signal);
  const rpms = packages.filter((each) => !isDeb(each));
  const files = rpms.map(({ file }) => file);
  const described = new Map((await describe(files, signal)).map((each) => [each.file, each]));
  return packages.map((each) =>
    isDeb(each) ? ofDebs[debs.indexOf(each)] : sourceOfRpm(each, described.get(each.file)?.source ?? ""),
  );
}

/** @param file "bash-5.2-1.src.rpm" */
function sourceOfRpm({ name, version }: Package, file: string): Source | undefined {
  const [, source, own] = /^(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm$/.exec(file) ?? [];
  if (source === undefined || own === undefined) return undefined;
  // Files' names leave the epoch out.
  const same = source === name && own === version.replace(/^\d+:/, "");
  return same ? undefined : { name: source, version: own };
}

async function sourcesOfDebs(
  packages: readonly Package[],
  signal?: AbortSignal,
): Promise<(Source | undefined)[]> {
  const script = 'for deb; do echo "$(dpkg-deb -f "$deb" Source)"; done';
  const said = await run("sh", ["-ec", script, "sh", ...packages.map(({ file }) => file)], {
    timeoutMs: 600_000,
    ...(signal ? { signal } : {}),
  });
  const lines = said.split("\n");
  return packages.map(({ name, version }, i) => {
    const [, source = name, own] = /^(\S+)(?: \(([^)]+)\))?$/.exec(lines[i] ?? "") ?? [];
    if (source === name && own === undefined) return undefined;
    // Debian's signed kernels are made of the others.
    const isSigned = source === "linux-signed-amd64";
    return isSigned ? { name: "linux", version } : { name: source, version: own ?? version };
  });
}
