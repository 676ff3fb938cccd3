/** What RPM files say of themselves. */
import { run } from "../../system/run.ts";
import { type Nevra, nevra } from "./tools.ts";

const QUERY = "%{NAME}|%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}|%{ARCH}|%{BUILDTIME}|%{SOURCERPM}\\n";

export interface Described extends Nevra {
  file: string;
  /** In seconds since 1970. */
  builtAt: number;
  /** "bash-5.2-1.src.rpm" */
  source: string;
}

/** What is in the files. @throws CommandError */
export async function describe(files: readonly string[]): Promise<Described[]> {
  if (files.length === 0) return [];
  const said = await run("rpm", ["-qp", "--nosignature", "--qf", QUERY, ...files], { timeoutMs: 600_000 });
  return said
    .split("\n")
    .filter(Boolean)
    .flatMap((line, i) => {
      const [name = "", version = "", arch = "", time, source = ""] = line.split("|");
      const found = nevra(name, version, arch);
      return found ? [{ ...found, file: files[i] ?? "", builtAt: Number(time), source }] : [];
    });
}
