/**
 * The director's solver (src/director/solver), which its plans use too, on instances of the Google/ROADEF-EURO challenge 2012 (machine reassignment): here its
 * annealing has all the time and both cores, and all that it finds is the result.
 *   node bench/roadef.ts [SECONDS] [NAME…]     all (or these) instances of the folder VIREO_ROADEF_DATA, with SECONDS (10) each
 *   node bench/roadef.ts -t SECONDS -p MODEL -i ASSIGNMENT -o OUTPUT [-s SEED]     one instance, as in the challenge
 * The folder holds model_NAME.txt and assignment_NAME.txt, check.py (each result is checked by it, or the run fails) and README.md with the best
 * known costs (`| NAME | initial | best |`). The gap of a result is 100 * (cost - best) / initial. The bar for the mean: 0.5 with 60 s, 1.5 with 10 s.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { solve } from "../src/director/solver/parallel.ts";
import { formatAssignment, readRoadef } from "../src/director/solver/roadef.ts";
import { State } from "../src/director/solver/state.ts";
import { count, within } from "./measure.ts";

const THREADS = 2;

/** Time runs from the start of the process to the last byte written, as in the challenge. */
async function run(
  files: { model: string; assignment: string; output: string },
  untilMs: number,
  seed: number,
) {
  const model = readRoadef(readFileSync(files.model), readFileSync(files.assignment));
  const result = await solve(model, model.home, { untilMs, threads: THREADS, seed });
  writeFileSync(files.output, formatAssignment(result));
  const writtenMs = Date.now();
  return { initial: new State(model).cost, cost: new State(model, result).cost, writtenMs };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    t: { type: "string", short: "t" },
    p: { type: "string", short: "p" },
    i: { type: "string", short: "i" },
    o: { type: "string", short: "o" },
    s: { type: "string", short: "s" },
  },
});

async function one(model: string, assignment: string, output: string): Promise<void> {
  const untilMs = performance.timeOrigin + Number(values.t ?? 300) * 1000 - 100;
  const { initial, cost } = await run({ model, assignment, output }, untilMs, Number(values.s ?? 1));
  process.stdout.write(`${initial} -> ${cost}\n`);
}

async function all(): Promise<number> {
  const folder = process.env.VIREO_ROADEF_DATA;
  if (!folder) {
    process.stderr.write(
      "VIREO_ROADEF_DATA must name the folder with the instances (model_*.txt, assignment_*.txt)\n",
    );
    return 2;
  }
  const seconds = count(positionals[0], 10, "SECONDS");
  const best = new Map<string, number>();
  for (const [, name = "", , known] of readFileSync(join(folder, "README.md"), "utf8").matchAll(
    /^\| (\w+) \| (\d+) \| (\d+) \|/gm,
  ))
    best.set(name, Number(known));
  const names = positionals.length > 1 ? positionals.slice(1) : namesIn(folder);
  const scratch = mkdtempSync(join(tmpdir(), "vireo-roadef-"));
  const gaps: number[] = [];
  let invalid = 0;
  let late = 0;
  try {
    for (const name of names) {
      const model = join(folder, `model_${name}.txt`);
      const assignment = join(folder, `assignment_${name}.txt`);
      const output = join(scratch, `${name}.txt`);
      const begin = Date.now();
      const { initial, cost, writtenMs } = await run(
        { model, assignment, output },
        begin + seconds * 1000,
        1,
      );
      const took = (writtenMs - begin) / 1000;
      if (took > seconds) late++;
      const told = spawnSync("python3", [join(folder, "check.py"), model, assignment, output, "--json"], {
        encoding: "utf8",
      });
      const valid =
        told.status === 0 && (JSON.parse(told.stdout) as { cost: { total: number } }).cost.total === cost;
      if (!valid) invalid++;
      const known = best.get(name);
      const gap = known === undefined ? undefined : (100 * (cost - known)) / initial;
      if (gap !== undefined) gaps.push(gap);
      process.stdout.write(
        `${name.padEnd(6)} ${took.toFixed(1)} s  ${initial} -> ${cost}  ${gap === undefined ? "" : `gap ${gap.toFixed(3)}`}${valid ? "" : `  NOT VALID: ${told.stdout}${told.stderr}`}\n`,
      );
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const bar = seconds >= 60 ? 0.5 : seconds >= 10 ? 1.5 : undefined;
  process.stdout.write(
    `mean gap ${mean.toFixed(3)} points with ${seconds} s${late > 0 ? `, ${late} of them late` : ""}${bar ? `, the bar is ${bar}` : ""}\n`,
  );
  const isWhole = gaps.length > 0 && gaps.length === names.length;
  return isWhole && invalid === 0 && late === 0 && (bar === undefined || within([mean], bar)) ? 0 : 1;
}

const namesIn = (folder: string) =>
  readdirSync(folder)
    .flatMap((file) => /^model_(\w+)\.txt$/.exec(file)?.[1] ?? [])
    .sort();

if (values.p && values.i && values.o) await one(values.p, values.i, values.o);
else if (values.p || values.i || values.o) throw new Error("-p, -i and -o go together");
else process.exitCode = await all();
