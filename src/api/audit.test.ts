import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { AuditLog, type AuditRecord, verifyAudit, verifyFile } from "./audit.ts";
import { failure } from "./testing/machines.ts";
import { startApiStack } from "./testing/stack.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-audit-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const record = (i: number): AuditRecord => ({
  time: `2026-01-01T00:00:${String(i).padStart(2, "0")}Z`,
  request: `r${i}`,
  user: "admin",
  from: "::1",
  verb: "create",
  path: "/x",
  code: 201,
});
const file = () => join(folder, "one.jsonl");
function write(count: number, options?: { maxBytes: number }): void {
  const log = new AuditLog(folder, "one", options);
  for (let i = 0; i < count; i++) log.record(record(i));
  log.close();
}

describe("the chain", () => {
  it("is whole over restarts and rotations", () => {
    write(5, { maxBytes: 600 });
    write(7, { maxBytes: 600 });
    const verdicts = verifyAudit(folder);
    expect(verdicts.length).toBeGreaterThan(2);
    expect(verdicts.map(({ wrong }) => wrong)).toEqual(verdicts.map(() => undefined));
    expect(verdicts.reduce((sum, { records }) => sum + records, 0)).toBe(12);
  });

  it("goes on after a crash that has cut the last line", () => {
    write(3);
    appendFileSync(file(), '{"time":"cut');
    expect(verifyFile(file(), "").wrong).toEqual({ line: 4, what: "is cut off" });
    write(2);
    expect(verifyFile(file(), "")).toMatchObject({ records: 5 });
    expect(verifyFile(file(), "").wrong).toBeUndefined();
  });

  const tamper = (change: (lines: string[]) => string[]) => {
    const lines = readFileSync(file(), "utf8").split("\n").slice(0, -1);
    writeFileSync(file(), `${change(lines).join("\n")}\n`);
    return verifyFile(file(), "").wrong;
  };
  it.each([
    ["changed", (lines: string[]) => lines.with(2, (lines[2] ?? "").replace("admin", "nobody")), 4],
    ["taken out", (lines: string[]) => lines.toSpliced(2, 1), 3],
    ["swapped", (lines: string[]) => lines.with(1, lines[2] ?? "").with(2, lines[1] ?? ""), 2],
    ["put in", (lines: string[]) => lines.toSpliced(2, 0, lines[1] ?? ""), 3],
    ["the first, taken out", (lines: string[]) => lines.slice(1), 1],
    ["garbage", (lines: string[]) => lines.with(3, "?"), 4],
  ])("shows a line that was %s", (_what, change, line) => {
    write(6);
    expect(tamper(change)?.line).toBe(line);
  });
});

it("tells who did what, who was refused and who acted as whom, and nothing of what objects hold", async () => {
  const audit = new AuditLog(folder, "api");
  await using stack = await startApiStack({ audit });
  const admin = stack.admin();
  await admin.create(VirtualMachine, {
    metadata: { name: "a", namespace: "default" },
    spec: { memory: "64Mi", image: "hush" },
  });
  await admin.get(VirtualMachine, { name: "a", namespace: "default" });
  const nobody = stack.client({ token: stack.pki.tokens.addUser({ name: "nobody", groups: [] }) });
  await failure(nobody.list(VirtualMachine));
  await failure(stack.client({ token: "wrong" }).list(VirtualMachine));
  const text = readFileSync(join(folder, "api.jsonl"), "utf8");
  const told = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as AuditRecord)
    .map(({ user, verb, path, code }) => [user, verb, path, code]);
  expect(told).toEqual([
    ["admin", "POST", "/apis/vireo.dev/v1/namespaces/default/virtualmachines", 201],
    ["nobody", "GET", "/apis/vireo.dev/v1/virtualmachines", 403],
    ["system:anonymous", "GET", "/apis/vireo.dev/v1/virtualmachines", 401],
  ]);
  expect(text).not.toContain("hush");
  audit.close();
  expect(verifyAudit(folder)[0]?.wrong).toBeUndefined();
});
