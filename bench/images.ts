/**
 * The nginx appliance (examples/appliance.yaml) against its bars: how long builds take when all packages are there, how small its disk is, and how soon it answers
 * under emulation. It is built with both of Debian's kernels: cloud starts sooner, generic is smaller and has the network cards of other hypervisors.
 *
 *   node bench/images.ts [ROUNDS]
 *
 * Ends with 1 when a bar is missed. Memory: the least, in steps of 8 MiB, that it answers in.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { CACHE } from "../src/cli/paths.ts";
import { type BuiltImage, buildImage } from "../src/images/builder.ts";
import type { Format, Recipe } from "../src/images/recipe.ts";
import { run } from "../src/system/run.ts";
import { freePort } from "../src/system/testing/free-port.ts";
import { count, median, pause } from "./measure.ts";

const rounds = count(process.argv[2], 3, "ROUNDS");
const FIVE: Format[] = ["qcow2", "vmdk-stream", "vhd", "vhdx", "vdi"];
const BARS = { five: 8, changed: 4, wrong: 2, allocatedMB: 13, memoryMiB: 80, disk: 8, direct: 6 };
const MEMORY = [80, 88, 96, 104, 112, 128];

const print = (line: string) => process.stdout.write(`${line}\n`);
let missed = 0;
function bar(what: string, value: number, limit: number, unit: string): void {
  const kept = value <= limit;
  if (!kept) missed += 1;
  print(`${kept ? "ok    " : "MISSED"} ${what}: ${value.toFixed(2)} ${unit} (bar ${limit})`);
}

const folder = mkdtempSync(join(tmpdir(), "vireo-bench-images-"));
// Safe: the example is a recipe; the build would say what is wrong with it.
const example = {
  distribution: "debian",
  release: "bookworm",
  ...parse(readFileSync(join(import.meta.dirname, "../examples/appliance.yaml"), "utf8")),
} as Recipe;

let builds = 0;
async function build(
  recipe: Recipe,
  layers: string,
): Promise<{ built: BuiltImage; seconds: number; at: string }> {
  const at = join(folder, `pool-${builds++}`);
  const begin = performance.now();
  const built = await buildImage({
    name: "web",
    recipe,
    folder: at,
    cache: CACHE,
    layers,
    progress: () => {},
  });
  return { built, seconds: (performance.now() - begin) / 1000, at };
}

/** Seconds from the start of QEMU to the first answer; NaN when none came. */
async function answers(args: readonly string[], memoryMiB: number, limitMs = 120_000): Promise<number> {
  const port = await freePort();
  const nic = `user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:${port}-:80`;
  const begin = performance.now();
  const qemu = spawn(
    "qemu-system-x86_64",
    [
      ...["-M", "q35", "-accel", "tcg", "-cpu", "qemu64", "-m", `${memoryMiB}`, "-nic", nic],
      ...["-display", "none", "-nodefaults", "-no-reboot", "-serial", "null", ...args],
    ],
    { stdio: "ignore" },
  );
  const ended = new Promise<void>((resolve) => qemu.once("exit", () => resolve()));
  try {
    while (performance.now() - begin < limitMs && qemu.exitCode === null && qemu.signalCode === null) {
      if (await asks(port)) return (performance.now() - begin) / 1000;
      await pause(50);
    }
    return Number.NaN;
  } finally {
    qemu.kill("SIGKILL");
    await ended;
  }
}

/** Whether an HTTP server answers there within a second. QEMU takes connections before its guest does. */
const asks = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.0\r\n\r\n"));
    socket.setTimeout(1000, () => socket.destroy());
    socket.on("data", (bytes) => resolve(bytes.toString("latin1").startsWith("HTTP/1.1 200")));
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
  });

try {
  const layers = join(folder, "layers");
  const cloud: Recipe = { ...example, kernel: "cloud" };
  const generic: Recipe = { ...example, kernel: "generic" };
  const five: Recipe = { ...cloud, formats: FIVE };
  print("warm-up: packages, kernels, layers");
  await build({ ...five, packages: [...five.packages, "netcat-openbsd"] }, join(folder, "other"));
  await build(five, layers);

  const times = { five: [] as number[], changed: [] as number[], wrong: [] as number[] };
  for (let i = 0; i < rounds; i++) {
    const { seconds, at } = await build(five, layers);
    times.five.push(seconds);
    rmSync(at, { recursive: true });
    // A copy of the layers of before: what the new package brings is not among them.
    const before = join(folder, `layers-${i}`);
    await run("cp", ["-al", layers, before]);
    const changed = await build({ ...cloud, packages: [...cloud.packages, "netcat-openbsd"] }, before);
    times.changed.push(changed.seconds);
    rmSync(changed.at, { recursive: true });
    const begin = performance.now();
    await build({ ...cloud, packages: ["nginx-ligth"] }, layers).catch(() => undefined);
    times.wrong.push((performance.now() - begin) / 1000);
  }
  bar("five formats, warm cache", median(times.five), BARS.five, "s");
  bar("one package more", median(times.changed), BARS.changed, "s");
  bar("a wrong name is told", median(times.wrong), BARS.wrong, "s");

  for (const [name, recipe] of [
    ["cloud", cloud],
    ["generic", generic],
  ] as const) {
    const { built, at } = await build(recipe, layers);
    bar(`${name}: allocated`, (built.allocatedBytes ?? Number.NaN) / 1e6, BARS.allocatedMB, "MB");
    const disk = ["-drive", `file=${join(at, built.file ?? "")},format=qcow2,if=virtio,snapshot=on`];
    let least = Number.NaN;
    for (const memory of MEMORY) {
      if (Number.isNaN(await answers(disk, memory, 60_000))) continue;
      least = memory;
      break;
    }
    bar(`${name}: memory`, least, BARS.memoryMiB, "MiB");
    const kernel = await direct(recipe, layers);
    const [byDisk, byKernel]: number[][] = [[], []];
    for (let i = 0; i < rounds; i++) {
      byDisk?.push(await answers(disk, 128));
      byKernel?.push(await answers(kernel, 128));
    }
    bar(`${name}: first answer, BIOS and disk`, median(byDisk ?? []), BARS.disk, "s");
    bar(`${name}: first answer, direct kernel`, median(byKernel ?? []), BARS.direct, "s");
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = missed > 0 ? 1 : 0;

/** The same system, started with its kernel. */
async function direct(recipe: Recipe, layers: string): Promise<string[]> {
  const { built, at } = await build({ ...recipe, boot: "direct" }, layers);
  const { kernel = "", initrd = "", commandLine = "" } = built.boot ?? {};
  return ["-kernel", join(at, kernel), "-initrd", join(at, initrd), "-append", commandLine];
}
