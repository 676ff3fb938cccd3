import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { AuditLog, type AuditRecord, verifyAudit, verifyFile } from "./audit.ts";
import { Secret } from "./secrets.ts";
import { failure } from "./testing/machines.ts";
import { raw } from "./testing/raw.ts";
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

/** As on a full disk: nothing in files of this process can be written behind so many bytes. */
function limitFiles(bytes: number | "unlimited"): void {
  execFileSync("prlimit", ["--pid", String(process.pid), `--fsize=${bytes}:`]);
}

describe("while the disk is full", () => {
  afterEach(() => limitFiles("unlimited"));

  it("the chain stays whole, and goes on with what was kept once there is room", () => {
    const told: (string | undefined)[] = [];
    const log = new AuditLog(folder, "one", { tell: (why) => told.push(why) });
    log.record(record(0));
    // Half a line more.
    limitFiles(statSync(file()).size * 1.5);
    for (let i = 1; i < 4; i++) log.record(record(i));
    expect(verifyFile(file(), "")).toMatchObject({ records: 1 });
    expect(verifyFile(file(), "").wrong).toBeUndefined();
    expect(log.trouble).toContain(`the audit log in ${folder} cannot be written`);
    limitFiles("unlimited");
    log.record(record(4));
    log.close();
    expect(verifyFile(file(), "").wrong).toBeUndefined();
    const lines = readFileSync(file(), "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).request)).toEqual(["r0", "r1", "r2", "r3", "r4"]);
    expect(told).toEqual([expect.any(String), undefined]);
  });

  it("a file that cannot be rotated away is written on", () => {
    const log = new AuditLog(folder, "one", { maxBytes: 100 });
    log.record(record(0));
    rmSync(folder, { recursive: true });
    log.record(record(1));
    expect(log.trouble).toContain("ENOENT");
    mkdirSync(folder);
    log.close();
  });

  it("what would be recorded is refused before it is done, all else can be read, and it goes on by itself", async () => {
    const audit = new AuditLog(folder, "one");
    await using stack = await startApiStack({ audit });
    const [admin, nobody] = [
      stack.admin(),
      stack.client({ token: stack.pki.tokens.addUser({ name: "nobody", groups: [] }) }),
    ];
    const at = (name: string) => ({ name, namespace: "default" });
    const make = (name: string) =>
      admin.create(VirtualMachine, { metadata: at(name), spec: { memory: "64Mi", image: "web" } });
    // Larger than the store, which has room all the time.
    audit.record({ ...record(0), path: "/".repeat(8 * 2 ** 20) });
    limitFiles(statSync(file()).size + 20);
    // By the first it is found out.
    await make("a");
    const refused = await failure(make("b"));
    expect(refused).toMatchObject({ reason: "ServiceUnavailable" });
    expect(refused.message).toContain(`the audit log in ${folder} cannot be written: `);
    expect((await failure(nobody.list(VirtualMachine))).reason).toBe("ServiceUnavailable");
    expect((await failure(admin.list(Secret))).reason).toBe("ServiceUnavailable");
    expect((await admin.list(VirtualMachine)).items.map(({ metadata }) => metadata.name)).toEqual(["a"]);
    const ready = () => raw(stack, "GET", "/readyz?verbose", {});
    expect(await ready()).toMatchObject({ code: 200 });
    expect((await ready()).text).toContain("[-]audit failed: the audit log in ");
    limitFiles("unlimited");
    await vi.waitFor(async () => expect((await ready()).text).toContain("[+]audit ok"), { timeout: 15_000 });
    await make("b");
    audit.close();
    const lines = readFileSync(file(), "utf8").trimEnd().split("\n").slice(1);
    expect(lines.map((line) => (JSON.parse(line) as AuditRecord).code)).toEqual([201, 201]);
    expect(verifyAudit(folder)[0]?.wrong).toBeUndefined();
    expect(stack.errors).toEqual([]);
  });
});
