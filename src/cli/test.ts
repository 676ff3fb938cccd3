/**
 * `vireo test`: types, lint and format, the rule on imports, unit tests, and the tests on real QEMU, kubectl and guests. The one
 * judge of green; its last line is `N passed, N failed`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./paths.ts";

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs a tool of node_modules with our own Node, its output going straight to the user. @returns exit code */
function tool(script: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(ROOT, "node_modules", script), ...args], {
      cwd: ROOT,
      stdio: "inherit",
      env: { ...process.env, PATH: `${join(process.execPath, "..")}:${process.env.PATH ?? ""}` },
    });
    child.on("error", () => resolve(127));
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

async function check(name: string, script: string, args: readonly string[]): Promise<Count> {
  const code = await tool(script, args);
  process.stdout.write(`${code === 0 ? "ok    " : "FAILED"} ${name}\n`);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

/** A crash of vitest, or no test found, counts as a failure: a run that tested nothing is never green. */
async function vitest(project: string, filters: readonly string[]): Promise<Count> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-test-"));
  const file = join(folder, "result.json");
  const code = await tool("vitest/vitest.mjs", [
    "run",
    "--project",
    project,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`,
    ...filters,
  ]);
  try {
    const report: unknown = JSON.parse(readFileSync(file, "utf8"));
    const number = (key: string): number => {
      const value = report && typeof report === "object" ? Reflect.get(report, key) : undefined;
      return typeof value === "number" ? value : 0;
    };
    const failed = number("numFailedTests");
    return {
      passed: number("numPassedTests"),
      // Suites can fail outside any test (an import, a hook): the exit code tells.
      failed: failed === 0 && code !== 0 ? 1 : failed,
      skipped: number("numPendingTests"),
    };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns the exit code for the process: 0 only when nothing failed and something passed. */
export async function runTests(options: { unit?: boolean; filters: readonly string[] }): Promise<number> {
  const counts: Count[] = [];
  if (options.filters.length === 0) {
    counts.push(await check("types", "typescript/bin/tsc", ["-p", "."]));
    for (const folder of ["web", "web/test"])
      counts.push(await check(`types of ${folder}`, "typescript/bin/tsc", ["-p", folder, "--noEmit"]));
    counts.push(
      await check("lint and format", "@biomejs/biome/bin/biome", [
        "ci",
        "--colors=off",
        "--error-on-warnings",
        ".",
      ]),
    );
  }
  counts.push(
    await vitest("unit", [...options.filters, ...(options.filters.length ? ["--passWithNoTests"] : [])]),
  );
  if (!options.unit)
    counts.push(
      await vitest("real", [...options.filters, ...(options.filters.length ? ["--passWithNoTests"] : [])]),
    );
  const sum = (key: keyof Count) => counts.reduce((total, count) => total + count[key], 0);
  const skipped = sum("skipped");
  process.stdout.write(
    `${sum("passed")} passed, ${sum("failed")} failed${skipped ? `, ${skipped} skipped` : ""}\n`,
  );
  return sum("failed") === 0 && sum("passed") > 0 ? 0 : 1;
}
