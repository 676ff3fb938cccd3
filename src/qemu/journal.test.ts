import { appendFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readJournal, readTail, trimLog } from "./journal.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-journal-"));
  path = join(folder, "journal");
});
afterEach(() => rmSync(folder, { recursive: true }));

const event = (name: string) => `{"timestamp": {"seconds": 7, "microseconds": 500000}, "event": "${name}"}\n`;

it("reads events with their time", () => {
  writeFileSync(path, `{"QMP": {}}\n{"return": {}}\n${event("RESUME")}`);
  expect(readJournal(path)).toEqual({
    started: true,
    events: [{ event: "RESUME", data: {}, timestampMs: 7500 }],
  });
});

it("an absent or empty journal is one of a QEMU that has not started", () => {
  expect(readJournal(path)).toEqual({ started: false, events: [] });
  writeFileSync(path, '{"QMP": {}}\n');
  expect(readJournal(path)).toEqual({ started: false, events: [] });
});

it("is cut back to its newest whole lines, and goes on there", () => {
  writeFileSync(path, `{"return": {}}\n${event("RESET").repeat(1000)}`);
  trimLog(path, 10_000, 1000);
  appendFileSync(path, event("SHUTDOWN"));
  const text = readFileSync(path, "utf8");
  expect(text.length).toBeLessThan(1200);
  expect(text.startsWith('{"timestamp"')).toBe(true);
  expect(readJournal(path)).toMatchObject({ started: true });
  expect(readJournal(path).events.at(-1)?.event).toBe("SHUTDOWN");
});

it("is left alone while it is short, or absent", () => {
  writeFileSync(path, event("RESET"));
  trimLog(path, 1000, 100);
  expect(readFileSync(path, "utf8")).toBe(event("RESET"));
  trimLog(join(folder, "absent"), 1, 1);
});

it("is not cut where a link has its place: what that leads to is another's", () => {
  writeFileSync(path, event("RESET").repeat(10));
  symlinkSync(path, join(folder, "link"));
  trimLog(join(folder, "link"), 100, 50);
  expect(readFileSync(path, "utf8")).toBe(event("RESET").repeat(10));
});

it("is read from its end where there is more of it than a QEMU writes by itself", () => {
  writeFileSync(path, `${event("STOP")}${"x".repeat(9 * 2 ** 20)}\n${event("SHUTDOWN")}`);
  expect(readJournal(path).events.map((each) => each.event)).toEqual(["SHUTDOWN"]);
  expect(readTail(path, 3)).toBe('"}\n');
});
