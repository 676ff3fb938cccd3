/**
 * The nginx appliance (examples/appliance.yaml) against its bars: how long builds take when all packages are there, how small its disk is, and how soon it answers
 * under emulation. The bars of its disk are for the usual kernel (cloud) with all in memory; what it is with a root on the disk, and with the kernel for all hardware, is told beside it.
 *
 *   node bench/images.ts [ROUNDS]
 *
 * Ends with 1 when a bar is missed. Memory: the least, in steps of 8 MiB, that it answers in.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Format, Recipe } from "../src/images/recipe.ts";
import { answers } from "../src/images/testing/answers.ts";
import { run } from "../src/system/run.ts";
import { build, EXAMPLE } from "./appliance.ts";
import { count, median } from "./measure.ts";

const rounds = count(process.argv[2], 3, "ROUNDS");
const FIVE: Format[] = ["qcow2", "vmdk-stream", "vhd", "vhdx", "vdi"];
const BARS = { five: 8, full: 30, changed: 4, wrong: 2, allocatedMB: 13, memoryMiB: 80, disk: 8, direct: 6 };
const MEMORY = [80, 88, 96, 104, 112, 128];

const print = (line: string) => process.stdout.write(`${line}\n`);
let missed = 0;
const tell = (what: string, value: number, _limit: number, unit: string) =>
  print(`       ${what}: ${value.toFixed(2)} ${unit}`);
function bar(what: string, value: number, limit: number, unit: string): void {
  const kept = value <= limit;
  if (!kept) missed += 1;
  print(`${kept ? "ok    " : "MISSED"} ${what}: ${value.toFixed(2)} ${unit} (bar ${limit})`);
}

const folder = mkdtempSync(join(tmpdir(), "vireo-bench-images-"));
let builds = 0;
const make = (recipe: Recipe, layers: string) => build(recipe, join(folder, `pool-${builds++}`), layers);

try {
  const layers = join(folder, "layers");
  const cloud: Recipe = { ...EXAMPLE, kernel: "cloud" };
  const generic: Recipe = { ...EXAMPLE, kernel: "generic" };
  const five: Recipe = { ...cloud, formats: FIVE };
  print("warm-up: packages, kernels, layers");
  await make({ ...five, packages: [...five.packages, "netcat-openbsd"] }, join(folder, "other"));
  await make(five, layers);

  const times = { five: [] as number[], changed: [] as number[], wrong: [] as number[] };
  for (let i = 0; i < rounds; i++) {
    const { seconds, at } = await make(five, layers);
    times.five.push(seconds);
    rmSync(at, { recursive: true });
    // A copy of the layers of before: what the new package brings is not among them.
    const before = join(folder, `layers-${i}`);
    await run("cp", ["-al", layers, before]);
    const changed = await make({ ...cloud, packages: [...cloud.packages, "netcat-openbsd"] }, before);
    times.changed.push(changed.seconds);
    rmSync(changed.at, { recursive: true });
    const begin = performance.now();
    await make({ ...cloud, packages: ["nginx-ligth"] }, layers).catch(() => undefined);
    times.wrong.push((performance.now() - begin) / 1000);
  }
  const full: Recipe = { ...cloud, mode: "full", root: "ext4", minimize: false };
  print("warm-up: the base of a full image");
  await make(full, layers);
  const whole: number[] = [];
  for (let i = 0; i < rounds; i++) {
    // The recipe is another one each time: the base is there, the image is not.
    const { seconds, at } = await make({ ...full, hostname: `round-${i}` }, layers);
    whole.push(seconds);
    rmSync(at, { recursive: true });
  }
  bar("full image, warm cache", median(whole), BARS.full, "s");
  bar("five formats, warm cache", median(times.five), BARS.five, "s");
  bar("one package more", median(times.changed), BARS.changed, "s");
  bar("a wrong name is told", median(times.wrong), BARS.wrong, "s");

  for (const [name, recipe] of [
    ["cloud", cloud],
    ["cloud, squashfs", { ...cloud, root: "squashfs" }],
    ["generic", generic],
  ] as const) {
    const { built, at } = await make(recipe, layers);
    const figure = recipe === cloud ? bar : tell;
    figure(`${name}: allocated`, (built.allocatedBytes ?? Number.NaN) / 1e6, BARS.allocatedMB, "MB");
    const disk = [
      "-M",
      "q35",
      "-drive",
      `file=${join(at, built.file ?? "")},format=qcow2,if=virtio,snapshot=on`,
    ];
    let least = Number.NaN;
    for (const memory of MEMORY) {
      if (Number.isNaN(await answers(disk, { memoryMiB: memory, limitMs: 60_000 }))) continue;
      least = memory;
      break;
    }
    figure(`${name}: memory`, least, BARS.memoryMiB, "MiB");
    const kernel = await direct(recipe, layers);
    const [byDisk, byKernel]: number[][] = [[], []];
    for (let i = 0; i < rounds; i++) {
      byDisk?.push(await answers(disk));
      byKernel?.push(await answers(kernel));
    }
    figure(`${name}: first answer, BIOS and disk`, median(byDisk ?? []), BARS.disk, "s");
    figure(`${name}: first answer, direct kernel`, median(byKernel ?? []), BARS.direct, "s");
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = missed > 0 ? 1 : 0;

/** The same system, started with its kernel. */
async function direct(recipe: Recipe, layers: string): Promise<string[]> {
  const { built, at } = await make({ ...recipe, boot: "direct" }, layers);
  const { kernel = "", initrd = "", commandLine = "" } = built.boot ?? {};
  return ["-M", "q35", "-kernel", join(at, kernel), "-initrd", join(at, initrd), "-append", commandLine];
}
