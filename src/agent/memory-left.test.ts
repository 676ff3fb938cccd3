/** The agent's last word on memory, on recorded procfs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Instance } from "../compute/kinds.ts";
import { memoryLack, readSwap } from "./memory-left.ts";

const GiB = 2 ** 30;
let proc: string;
beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "vireo-proc-"));
});
afterEach(() => rmSync(proc, { recursive: true }));

const SWAPS = `Filename				Type		Size		Used		Priority
/dev/dm-1                               partition	4194304		1048576		-2
/dev/zram0                              partition	8388608		0		100
/swap\\040file                           file		1048576		0		-3
`;
const has = (availableGiB: number, swaps = SWAPS) => {
  const kB = availableGiB * 2 ** 20;
  writeFileSync(
    join(proc, "meminfo"),
    `MemTotal:       65536000 kB\nMemFree:          100000 kB\nMemAvailable:   ${kB} kB\n`,
  );
  writeFileSync(join(proc, "swaps"), swaps);
};
const host = (memory?: number) => ({
  metadata: { name: "a" },
  spec: memory === undefined ? {} : { overcommit: { memory } },
});
// Safe: nothing else of it is read.
const machine = (memory: string, resources = {}) => ({ spec: { memory, resources } as Instance["spec"] });

it("counts swap on disks, and not what is compressed in memory", () => {
  expect(readSwap(proc)).toEqual({ totalBytes: 0, freeBytes: 0 });
  has(1);
  expect(readSwap(proc)).toEqual({ totalBytes: 5 * GiB, freeBytes: 4 * GiB });
});

it("a machine starts when all of its memory would be somewhere", () => {
  has(3);
  expect(memoryLack(host(1.5), machine("7Gi"), proc)).toBeUndefined();
  expect(memoryLack(host(1.5), machine("8Gi"), proc)).toMatch(
    /^host a has 7Gi of memory and swap left, the machine may take 8Gi: .*spec\.overcommit\.memory: 1\.5/,
  );
  // Somebody has switched it off since.
  has(3, "Filename Type Size Used Priority\n");
  expect(memoryLack(host(1.5), machine("7Gi"), proc)).toMatch(/^host a has 3Gi/);
  // It has its memory already.
  expect(memoryLack(host(1.5), machine("8Gi", { hugepages: "2Mi" }), proc)).toBeUndefined();
});

it("of a host that gives out no more than it has nothing is asked", () => {
  has(0);
  for (const share of [undefined, 0.9, 1])
    expect(memoryLack(host(share), machine("64Gi"), proc)).toBeUndefined();
  expect(memoryLack(undefined, machine("64Gi"), proc)).toBeUndefined();
});
