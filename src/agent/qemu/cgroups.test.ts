/** Of version 2, in a folder that looks like one; version 1 is tried with a real machine (qemu-hypervisor.real.test.ts) where the host has it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Cgroups } from "./cgroups.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "vireo-cgroup-"));
});
afterEach(() => rmSync(root, { recursive: true }));
const read = (file: string) => readFileSync(join(root, file), "utf8");

it("version 2: weight, limit, and back to what everybody has", () => {
  writeFileSync(join(root, "cgroup.controllers"), "cpuset cpu io memory\n");
  const groups = new Cgroups(root);
  expect(groups.apply("a", 42, { cpuWeight: 300, cpuLimit: 1.5 }, 2 ** 30)).toBeUndefined();
  const allowed = [read("cgroup.subtree_control"), read("vireo/cgroup.subtree_control")];
  expect(allowed).toEqual(["+cpu +memory", "+cpu +memory"]);
  expect(read("vireo/a/memory.max")).toBe(`${2 ** 30}`);
  expect([read("vireo/a/cpu.weight"), read("vireo/a/cpu.max")]).toEqual(["300", "150000 100000"]);
  expect(read("vireo/a/cgroup.procs")).toBe("42");
  // All together: on each processor what a process beside them has.
  expect(read("vireo/cpu.weight")).toBe(`${100 * availableParallelism()}`);
  expect(groups.apply("a", 42, {})).toBeUndefined();
  expect([read("vireo/a/cpu.weight"), read("vireo/a/cpu.max")]).toEqual(["100", "max 100000"]);
});

it("version 1: the same in its own words", () => {
  mkdirSync(join(root, "cpu"));
  writeFileSync(join(root, "cpu/cpu.shares"), "1024");
  mkdirSync(join(root, "memory"));
  writeFileSync(join(root, "memory/memory.limit_in_bytes"), "-1");
  expect(new Cgroups(root).apply("a", 42, { cpuWeight: 50, cpuLimit: 0.5 }, 2 ** 30)).toBeUndefined();
  expect([read("memory/vireo/a/memory.limit_in_bytes"), read("memory/vireo/a/cgroup.procs")]).toEqual([
    `${2 ** 30}`,
    "42",
  ]);
  expect([read("cpu/vireo/a/cpu.shares"), read("cpu/vireo/a/cpu.cfs_quota_us")]).toEqual(["512", "50000"]);
});

it("says why it cannot be", () => {
  const groups = new Cgroups(root);
  expect(groups.apply("a", 42, {})).toContain("no control groups for processors");
  writeFileSync(join(root, "cgroup.controllers"), "cpu");
  writeFileSync(join(root, "vireo"), "in the way");
  expect(groups.apply("a", 42, {})).toMatch(/does not let the agent set it .*EEXIST|ENOTDIR/);
  groups.remove("a");
});
