/**
 * One appliance in the formats of other hypervisors, each started by QEMU with the disk controllers and network cards that the hypervisor gives its guests: what does not
 * answer by HTTP would not there, either. Ten profiles of hypervisors, and CDs and network boot.
 *
 *   node bench/formats.ts [LIMIT_SECONDS]
 *
 * Ends with 1 when one does not answer.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Recipe } from "../src/images/recipe.ts";
import { answers } from "../src/images/testing/answers.ts";
import { hypervisorProfiles, PROFILE_FORMATS, type Profile } from "../src/images/testing/hypervisors.ts";
import { build, EXAMPLE } from "./appliance.ts";
import { count } from "./measure.ts";

const limitMs = count(process.argv[2], 180, "LIMIT_SECONDS") * 1000;
const folder = mkdtempSync(join(tmpdir(), "vireo-bench-formats-"));
const print = (line: string) => process.stdout.write(`${line}\n`);

try {
  const recipe: Recipe = { ...EXAMPLE, kernel: "generic", formats: [...PROFILE_FORMATS] };
  const { built, at, seconds } = await build(recipe, join(folder, "pool"), join(folder, "layers"));
  print(`built in ${seconds.toFixed(1)} s with ${PROFILE_FORMATS.length} formats`);
  const { disks, others } = await hypervisorProfiles(folder, "web", (format) =>
    join(at, built.artifacts?.find((each) => each.format === format)?.file ?? ""),
  );
  let silent = 0;
  const all = async (what: string, profiles: readonly Profile[]) => {
    let answered = 0;
    for (const { name, nic, args } of profiles) {
      const seconds = await answers(args, { memoryMiB: 256, nic, limitMs });
      if (!Number.isNaN(seconds)) answered += 1;
      print(Number.isNaN(seconds) ? `SILENT ${name}` : `ok     ${name}: ${seconds.toFixed(1)} s`);
    }
    print(`${what}: ${answered} of ${profiles.length} answer`);
    silent += profiles.length - answered;
  };
  await all("hypervisors", disks);
  await all("without a disk", others);
  process.exitCode = silent > 0 ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
