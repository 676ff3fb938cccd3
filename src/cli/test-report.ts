/** What a run of vitest says of itself in its JSON report: counts, and what failed and why in a line each. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";

export interface TestReport {
  passed: number;
  skipped: number;
  /** One for each failed test, and for each file that failed outside any test: file, test, first line of why. */
  failures: string[];
}

const VitestReport = Type.Object({
  numPassedTests: Type.Number(),
  numPendingTests: Type.Number(),
  testResults: Type.Array(
    Type.Object({
      name: Type.String(),
      status: Type.String(),
      message: Type.Optional(Type.String()),
      assertionResults: Type.Array(
        Type.Object({
          fullName: Type.String(),
          status: Type.String(),
          failureMessages: Type.Optional(Type.Array(Type.String())),
        }),
      ),
    }),
  ),
});

const firstLine = (text: string | undefined) => text?.split("\n").find((line) => line.trim() !== "") ?? "";

/**
 * A crash, or no report, counts as a failure: a run that tested nothing is never green.
 * @param file of vitest's JSON reporter
 * @param exitCode of vitest; it tells of what failed outside any test (an import, a hook, an unhandled rejection)
 * @param root that the names of files are relative to
 */
export function readTestReport(file: string, exitCode: number, root: string): TestReport {
  let report: unknown;
  try {
    report = JSON.parse(readFileSync(file, "utf8"));
  } catch {}
  if (!Value.Check(VitestReport, report))
    return {
      passed: 0,
      skipped: 0,
      failures: [`vitest ended with ${exitCode} and left no report`],
    };
  const failures = report.testResults.flatMap((suite) => {
    const at = relative(root, suite.name);
    const tests = suite.assertionResults.filter((test) => test.status === "failed");
    if (tests.length === 0 && suite.status === "failed") return [`${at}: ${firstLine(suite.message)}`];
    return tests.map((test) => `${at} > ${test.fullName}: ${firstLine(test.failureMessages?.[0])}`);
  });
  if (failures.length === 0 && exitCode !== 0)
    failures.push(`vitest ended with ${exitCode} though no test failed: see above`);
  return {
    passed: report.numPassedTests,
    skipped: report.numPendingTests,
    failures,
  };
}
