/** The parts of `vireo doctor` that look at files and objects; what it says of a whole installation is in test/up.test.ts. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { AuditLog } from "../../api/audit.ts";
import { Pki } from "../../api/pki.ts";
import { startApiStack } from "../../api/testing/stack.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { VirtualMachine } from "../../compute/kinds.ts";
import { statePaths } from "../paths.ts";
import { checkControlPlanes, checkStore } from "./control-planes.ts";
import { checkHosts, checkMachines, checkStored } from "./estate.ts";
import { section, size } from "./finding.ts";
import { checkAudit, checkFiles, checkLogs, checkProcesses } from "./installation.ts";

let paths: ReturnType<typeof statePaths>;
beforeEach(() => {
  paths = statePaths(mkdtempSync(join(tmpdir(), "vireo-doctor-")));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(paths.state, { recursive: true });
});

it("tells files that others may read, and certificates that run out", async () => {
  await (await Pki.open(paths.pki)).serverCredentials([]);
  writeFileSync(paths.kubeconfig, "", { mode: 0o600 });
  expect(checkFiles(paths).map(({ level }) => level)).toEqual(["ok", "ok", "ok"]);
  chmodSync(join(paths.pki, "ca.key"), 0o644);
  const [files] = checkFiles(paths);
  expect(files?.level).toBe("problem");
  expect(files?.fix).toContain(`chmod go= ${join(paths.pki, "ca.key")}`);
  for (const [days, level] of [
    [352, "warning"],
    [366, "problem"],
  ] as const) {
    vi.useFakeTimers({ now: Date.now() + days * 86_400_000, toFake: ["Date"] });
    const server = checkFiles(paths).find(({ what }) => what.includes("server.crt"));
    expect(server?.level).toBe(level);
    vi.useRealTimers();
  }
});

it("tells what was started and is gone", () => {
  expect(checkProcesses(paths)).toMatchObject([{ level: "problem", fix: "vireo up" }]);
  const daemon = { args: [], log: "x.log", startTime: "1" };
  const record = {
    port: 1,
    controlPlanes: [{ ...daemon, name: "control-plane", pid: 2 ** 22 + 1 }],
    agents: [],
  };
  writeFileSync(paths.record, JSON.stringify(record));
  expect(checkProcesses(paths)).toMatchObject([
    { level: "problem", what: expect.stringMatching(/^control-plane does not run/) },
  ]);
});

it("tells errors of the last hour in the logs", () => {
  // Those of builds have a folder of their own.
  mkdirSync(join(paths.logs, "builds"), { recursive: true });
  const line = (minutesAgo: number, level: string) =>
    JSON.stringify({
      time: new Date(Date.now() - minutesAgo * 60_000).toISOString(),
      level,
      event: "store.failed",
      error: "the disk is full",
    });
  const file = join(paths.logs, "control-plane.log");
  writeFileSync(file, `${line(70, "error")}\n${line(1, "warn")}\nno JSON\n`);
  expect(checkLogs(paths)).toEqual([{ level: "ok", what: "no errors in the last hour" }]);
  writeFileSync(file, `${line(5, "error")}\n${line(1, "error")}\n`);
  expect(checkLogs(paths)).toMatchObject([
    {
      level: "warning",
      what: `${file}: 2 errors in the last hour, the last: store.failed: the disk is full`,
    },
  ]);
});

it("tells a line of the audit log that was changed", () => {
  const folder = join(paths.state, "audit");
  const log = new AuditLog(folder, "a");
  for (const user of ["eve", "bob", "ann"])
    log.record({ time: "", request: "1", user, from: "", verb: "GET", path: "/", code: 200 });
  log.close();
  expect(checkAudit(paths)).toMatchObject([{ level: "ok" }]);
  const file = join(folder, "a.jsonl");
  writeFileSync(file, readFileSync(file, "utf8").replace("eve", "adam"));
  expect(checkAudit(paths)).toMatchObject([
    { level: "problem", what: expect.stringContaining(`${file}:2: does not follow line 1`) },
  ]);
});

it("tells what the API has, and what is wrong with it", async () => {
  await using stack = await startApiStack();
  const client = stack.admin();
  expect(await checkHosts(client, "1")).toMatchObject([{ level: "problem", what: "there is no host" }]);
  await client.create(Host, { metadata: { name: "a" }, spec: {} });
  const hosts = await checkHosts(client, "1", ["a", "b"]);
  expect(hosts).toMatchObject([{ level: "problem" }, { level: "problem" }]);
  expect(hosts.map(({ what }) => what)).toEqual([
    "b is not there, though its agent was started on this machine",
    expect.stringMatching(/^a is not ready/),
  ]);
  const bmc = { ipmi: { address: "10.0.9.1" }, credentials: { name: "bmc-a" } };
  const host = await client.patch(Host, { name: "a" }, { spec: { bmc, power: "Off", unschedulable: true } });
  const power = { state: "Off", since: "2026-11-24T00:00:00Z" } as const;
  await client.updateStatus(Host, { ...host, status: { ...host.status, power } });
  expect(await checkHosts(client, "1")).toEqual([{ level: "ok", what: "a is off, as asked (spec.power)" }]);
  // Nobody asked for it but a PowerPolicy.
  const since = "2026-11-24T00:00:00Z";
  const automatic = { power: "Off", since, policy: "frugal", reason: "it is empty" } as const;
  const freed = await client.patch(Host, { name: "a" }, { spec: { power: null, unschedulable: null } });
  const off = { ...power, automatic, fulfilled: { since, finishedTime: since } };
  const saved = await client.updateStatus(Host, { ...freed, status: { ...freed.status, power: off } });
  expect(await checkHosts(client, "1")).toEqual([
    { level: "ok", what: "a rests: it is switched off (PowerPolicy frugal)" },
  ]);
  await client.updateStatus(Host, { ...saved, status: { ...saved.status, power } });
  expect(await checkHosts(client, "1")).toMatchObject([{ level: "problem" }]);
  expect(await checkMachines(client)).toEqual([{ level: "ok", what: "0 machines, 0 running" }]);
  const longAgo = { status: "False", lastTransitionTime: since, observedGeneration: 1, message: "" } as const;
  for (const [phase, reason, spec] of [
    ["Suspended", "Suspended", { suspended: true }],
    ["Paused", "Paused", { paused: true }],
    ["Paused", "StorageFull", {}],
  ] as const) {
    const metadata = { name: reason.toLowerCase(), namespace: "default" };
    const vm = await client.create(VirtualMachine, {
      metadata,
      spec: { image: "x", memory: "64Mi", ...spec },
    });
    const conditions = [{ type: "Ready", reason, ...longAgo }];
    await client.updateStatus(VirtualMachine, { ...vm, status: { phase, conditions } });
  }
  expect((await checkMachines(client)).map(({ level, what }) => `${level} ${what.split(" ")[0]}`)).toEqual([
    "ok 3",
    "ok default/paused",
    "problem default/storagefull",
    "ok default/suspended",
  ]);
  expect(await checkStored(client)).toMatchObject([{ level: "ok" }]);
  // Nobody is elected in this test's server.
  const planes = await checkControlPlanes([stack.server.url], () => stack.admin());
  expect(planes).toMatchObject([{ level: "ok" }, { level: "problem" }]);
  expect(planes[1]?.what).toContain("nobody leads");
});

it("says what it could not look at, and goes on", async () => {
  expect(await checkStore(paths)).toMatchObject([{ level: "unknown" }]);
  const failed = await section("x", "y", () => {
    throw Object.assign(new Error("permission denied"), { code: "EACCES" });
  });
  expect(failed.findings).toEqual([
    {
      level: "unknown",
      what: "could not be looked at: permission denied",
      fix: "run it as root (sudo)",
    },
  ]);
});

it("writes sizes for people", () => {
  expect([0, 1536, 80_430_000_000].map(size)).toEqual(["0 bytes", "1.5 KiB", "74.9 GiB"]);
});
