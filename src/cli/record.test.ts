import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { refuseOther } from "./installation.ts";
import { statePaths } from "./paths.ts";
import { readRecord, readSettings, type UpRecord, writeRecord, writeSettings } from "./record.ts";

let paths: ReturnType<typeof statePaths>;
beforeEach(() => {
  paths = statePaths(mkdtempSync(join(tmpdir(), "vireo-record-")));
});
afterEach(() => rmSync(paths.state, { recursive: true }));

const RECORD: UpRecord = {
  port: 6443,
  controlPlanes: [{ name: "control-plane", args: ["server"], log: "x.log", pid: 1, startTime: "2" }],
  agents: [],
};

it("reads what it wrote, and leaves nothing half written", () => {
  writeRecord(paths, RECORD);
  writeSettings(paths, { hosts: 2, oidc: { oidcIssuer: "https://x" } });
  expect([readRecord(paths), readSettings(paths)]).toEqual([
    RECORD,
    { hosts: 2, oidc: { oidcIssuer: "https://x" } },
  ]);
  expect(existsSync(`${paths.record}.new`)).toBe(false);
});

it("names the file that is cut off or of another shape, and what to do", () => {
  writeRecord(paths, RECORD);
  writeFileSync(paths.record, readFileSync(paths.record, "utf8").slice(0, 40));
  expect(() => readRecord(paths)).toThrow(
    /\/up\.json: .*JSON.*; it says what `vireo up` has started.*remove the file/,
  );
  writeFileSync(paths.record, '{"port":1,"agents":[]}');
  expect(() => readRecord(paths)).toThrow(/\/up\.json: .*controlPlanes/);
  writeFileSync(paths.settings, '{"hosts":"three"}');
  expect(() => readSettings(paths)).toThrow(/\/settings\.json: \/hosts must be integer; .*remove it/);
});

it("refuses what an installation that is there was not made with, rather than ignore it", () => {
  const two = { ...RECORD, controlPlanes: [...RECORD.controlPlanes, ...RECORD.controlPlanes] };
  const ask = (given: object) => () =>
    refuseOther(paths, { existing: two, before: { store: "etcd://a:1", controlPlanes: 2 }, given });
  expect(ask({ port: 6443, controlPlanes: 2, address: "127.0.0.1" })).not.toThrow();
  expect(ask({ port: 7000 })).toThrow("listens on port 6443; run `vireo down --keep` before changing --port");
  expect(ask({ controlPlanes: 1 })).toThrow("has 2 control planes; run `vireo down --keep` before");
  expect(ask({ controlPlanes: 3 })).toThrow("has 2 control planes; run `vireo down --keep` before");
  expect(ask({ hosts: 3 })).toThrow("has this machine as its host; run `vireo down` before changing --hosts");
  expect(ask({ address: "192.0.2.77" })).toThrow("not an IPv4 address of this machine");
});
