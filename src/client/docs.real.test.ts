/** docs/client.md: its program has right types, and prints what the page says. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import { startApiStack } from "../api/testing/stack.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(ROOT, "docs/client.md"), "utf8");
const block = (language: string) => page.split(`\n\`\`\`${language}\n`)[1]?.split("\n```")[0] ?? "";
const folder = mkdtempSync(join(tmpdir(), "vireo-client-doc-"));
afterAll(() => rmSync(folder, { recursive: true }));

const run = (script: string, args: string[], env: Record<string, string> = {}) =>
  promisify(execFile)(process.execPath, [script, ...args], {
    env: { ...process.env, ...env },
    timeout: 60_000,
  });

it("the program of the page is right, and does what the page says", async () => {
  await using stack = await startApiStack();
  const program = join(folder, "program.mts");
  writeFileSync(program, block("ts").replaceAll('"./src/', `"${ROOT}/src/`));
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: join(ROOT, "tsconfig.json"), include: ["program.mts"] }),
  );
  await run(join(ROOT, "node_modules/typescript/bin/tsc"), ["-p", folder]);
  const { stdout } = await run(program, [], { KUBECONFIG: stack.kubeconfig });
  expect(stdout.trimEnd()).toBe(page.split("\nPrints:\n\n```\n")[1]?.split("\n```")[0]);
  expect(stack.errors).toEqual([]);
});
