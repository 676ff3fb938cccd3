import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readTestReport } from "./test-report.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-report-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function reportOf(testResults: unknown[]): string {
  const file = join(folder, "result.json");
  writeFileSync(file, JSON.stringify({ numPassedTests: 3, numPendingTests: 1, testResults }));
  return file;
}

describe("the report of a run", () => {
  test("names each failed test with its file and the first line of why", () => {
    const file = reportOf([
      {
        name: "/tree/src/a.test.ts",
        status: "failed",
        assertionResults: [
          { fullName: "a thing works", status: "passed", failureMessages: [] },
          {
            fullName: "a thing ends",
            status: "failed",
            failureMessages: ["AssertionError: expected 1 to be 2\n at a.ts:1"],
          },
        ],
      },
    ]);
    expect(readTestReport(file, 1, "/tree")).toEqual({
      passed: 3,
      skipped: 1,
      failures: ["src/a.test.ts > a thing ends: AssertionError: expected 1 to be 2"],
    });
  });

  test("counts a file that failed outside any test, and says which", () => {
    const file = reportOf([
      { name: "/tree/src/b.test.ts", status: "failed", message: "no such module", assertionResults: [] },
    ]);
    expect(readTestReport(file, 1, "/tree")).toMatchObject({
      failures: ["src/b.test.ts: no such module"],
    });
  });

  test("is a failure when vitest says so, or says nothing", () => {
    expect(readTestReport(reportOf([]), 1, "/tree")).toMatchObject({
      failures: ["vitest ended with 1 though no test failed: see above"],
    });
    expect(readTestReport(join(folder, "nothing.json"), 0, "/tree")).toMatchObject({
      passed: 0,
      failures: ["vitest ended with 0 and left no report"],
    });
  });
});
