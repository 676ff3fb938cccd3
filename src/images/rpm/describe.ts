/** What RPM files say of themselves. */
import type { Layer } from "../rootfs/layers.ts";
import { runRpm } from "./run-tool.ts";
import { type Nevra, nevra } from "./tools.ts";

const QUERY = "%{NAME}|%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}|%{ARCH}|%{BUILDTIME}|%{SOURCERPM}\\n";

export interface Described extends Nevra {
  file: string;
  /** In seconds since 1970. */
  builtAt: number;
  /** "bash-5.2-1.src.rpm" */
  source: string;
}

/** @returns lines. @throws CommandError, or the signal's reason */
async function query(format: string, files: readonly string[], signal?: AbortSignal): Promise<string[]> {
  if (files.length === 0) return [];
  const args = ["-qp", "--nosignature", "--qf", format, ...files];
  return (await runRpm(args, { timeoutMs: 600_000, ...(signal ? { signal } : {}) }))
    .split("\n")
    .filter(Boolean);
}

/** What is in the files. @throws CommandError, or the signal's reason */
export async function describe(files: readonly string[], signal?: AbortSignal): Promise<Described[]> {
  return (await query(QUERY, files, signal)).flatMap((line, i) => {
    const [name = "", version = "", arch = "", time, source = ""] = line.split("|");
    const found = nevra(name, version, arch);
    return found ? [{ ...found, file: files[i] ?? "", builtAt: Number(time), source }] : [];
  });
}

/** Where each puts its files. @throws CommandError */
export async function filesIn(files: readonly string[]): Promise<Layer[]> {
  const layers = new Map<string, string[]>();
  for (const line of await query("[%{=NAME}|%{FILENAMES}\\n]", files)) {
    const at = line.indexOf("|");
    const name = line.slice(0, at);
    const paths = layers.get(name) ?? [];
    paths.push(line.slice(at + 1));
    layers.set(name, paths);
  }
  return [...layers].map(([name, paths]) => ({ name, paths }));
}
