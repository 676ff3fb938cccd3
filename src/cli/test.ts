/**
 * `vireo test`: types, lint and format, the rule on imports, unit tests, and the tests on real QEMU, kubectl and guests. The one
 * judge of green; its last line is `N passed, N failed`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./paths.ts";
import { readTestReport, type TestReport } from "./test-report.ts";

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

async function check(name: string, script: string, args: readonly string[]): Promise<TestReport> {
  const code = await tool(script, args);
  process.stdout.write(`${code === 0 ? "ok    " : "FAILED"} ${name}\n`);
  return code === 0
    ? { passed: 1, skipped: 0, failures: [] }
    : { passed: 0, skipped: 0, failures: [`${name}: see above`] };
}

async function vitest(project: string, filters: readonly string[]): Promise<TestReport> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-test-"));
  const file = join(folder, "result.json");
  try {
    const code = await tool("vitest/vitest.mjs", [
      "run",
      "--project",
      project,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
      ...filters,
    ]);
    return readTestReport(file, code, ROOT);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns the exit code for the process: 0 only when nothing failed and something passed. */
export async function runTests(options: { unit?: boolean; filters: readonly string[] }): Promise<number> {
  const reports: TestReport[] = [];
  if (options.filters.length === 0) {
    reports.push(await check("types", "typescript/bin/tsc", ["-p", "."]));
    for (const folder of ["web", "web/test"])
      reports.push(await check(`types of ${folder}`, "typescript/bin/tsc", ["-p", folder, "--noEmit"]));
    reports.push(
      await check("lint and format", "@biomejs/biome/bin/biome", [
        "ci",
        "--colors=off",
        "--error-on-warnings",
        ".",
      ]),
    );
  }
  reports.push(
    await vitest("unit", [...options.filters, ...(options.filters.length ? ["--passWithNoTests"] : [])]),
  );
  if (!options.unit)
    reports.push(
      await vitest("real", [...options.filters, ...(options.filters.length ? ["--passWithNoTests"] : [])]),
    );
  // Once more at the end: what failed early is far above, or was cut off, where an hour's output is read.
  const failures = reports.flatMap((report) => report.failures);
  for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`);
  const sum = (key: "passed" | "skipped") => reports.reduce((total, report) => total + report[key], 0);
  const [passed, skipped] = [sum("passed"), sum("skipped")];
  process.stdout.write(
    `${passed} passed, ${failures.length} failed${skipped ? `, ${skipped} skipped` : ""}\n`,
  );
  return failures.length === 0 && passed > 0 ? 0 : 1;
}
