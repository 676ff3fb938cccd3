/** Errors of memory as Linux counts them, and how many came within a day. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { LastDay, readMemoryErrors } from "./memory-errors.ts";

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), "vireo-edac-"));
});
afterEach(() => rmSync(sys, { recursive: true }));
const put = (files: Record<string, string>) => {
  for (const [path, text] of Object.entries(files)) {
    const file = join(sys, "devices/system/edac/mc", path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${text}\n`);
  }
};
const HOUR = 3_600_000;

it("are those of each module, and what cannot be told the module of", () => {
  expect(readMemoryErrors(sys)).toEqual([]);
  put({
    "mc0/dimm0/dimm_label": "P1-DIMMA1",
    "mc0/dimm0/size": "32768",
    "mc0/dimm0/dimm_ce_count": "12",
    "mc0/dimm0/dimm_ue_count": "0",
    "mc0/dimm1/dimm_ce_count": "?",
    "mc0/csrow0/ce_count": "12",
    "mc0/ce_noinfo_count": "3",
    "mc0/ue_noinfo_count": "0",
    "mc1/csrow0/ce_count": "0",
    "mc1/csrow0/ue_count": "1",
    "mc1/csrow0/size_mb": "8192",
    "mc1/ce_noinfo_count": "0",
    "power/control": "auto",
  });
  expect(readMemoryErrors(sys)).toEqual([
    { module: "P1-DIMMA1", sizeBytes: 2 ** 35, corrected: 12, uncorrected: 0 },
    { module: "mc0 dimm1", corrected: 0, uncorrected: 0 },
    { module: "mc0", corrected: 3, uncorrected: 0 },
    { module: "mc1 csrow0", sizeBytes: 2 ** 33, corrected: 0, uncorrected: 1 },
  ]);
});

it("within a day: what was long ago, or is not known since when, does not count", () => {
  const day = new LastDay();
  const started = -100 * HOUR;
  expect(day.count("a", 500, 0, started)).toBe(0);
  expect(day.count("a", 510, HOUR, started)).toBe(10);
  expect(day.count("a", 515, 20 * HOUR, started)).toBe(15);
  expect(day.count("a", 515, 26 * HOUR, started)).toBe(5);
  expect(day.count("a", 515, 60 * HOUR, started)).toBe(0);
  // Set back, by hand.
  expect(day.count("a", 2, 61 * HOUR, started)).toBe(2);
  // Of a host that was started three hours ago all counts.
  expect(new LastDay().count("b", 40, 0, -3 * HOUR)).toBe(40);
});
