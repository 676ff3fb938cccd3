import { expect, it } from "vitest";
import { killedForMemory } from "./oom.ts";

const process = { pid: 77, startTime: "500" };
const told = (us: number, pid: number, constraint: string) =>
  `6,1234,${us},-;oom-kill:constraint=${constraint},nodemask=(null),task_memcg=/vireo/x,task=qemu-system-x86,pid=${pid},uid=200001`;

it("a process that was killed for want of memory is told by the kernel's log, or by its group's count alone", () => {
  const log =
    (...lines: string[]) =>
    () => ["6,1,2,-;something else", ...lines];
  expect(killedForMemory(process, undefined, log(told(6_000_000, 77, "CONSTRAINT_NONE")))).toMatch(
    /^the host ran/,
  );
  expect(killedForMemory(process, 1, log(told(6_000_000, 77, "CONSTRAINT_MEMCG")))).toMatch(
    /more memory than it may/,
  );
  expect(killedForMemory(process, 1, log())).toMatch(/or the machine took/);
});

it("others are not: of another process, of an earlier one with its id, and where the group counts none", () => {
  const log = () => [
    told(6_000_000, 7, "CONSTRAINT_NONE"),
    told(4_999_999, 77, "CONSTRAINT_NONE"),
    "oom-kill: odd",
  ];
  expect(killedForMemory(process, undefined, log)).toBeUndefined();
  expect(killedForMemory(process, 0, () => [told(6_000_000, 77, "CONSTRAINT_NONE")])).toBeUndefined();
});
