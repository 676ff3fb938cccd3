/** Debian's source packages, of which binary packages are built. */
import { run } from "../../system/run.ts";
import type { Package } from "./packages.ts";

/**
 * The source package of each, by which lists of vulnerabilities name it; undefined where it has the same name and version. @throws CommandError
 */
export async function sourcesOf(
  packages: readonly Package[],
  signal?: AbortSignal,
): Promise<({ name: string; version: string } | undefined)[]> {
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
