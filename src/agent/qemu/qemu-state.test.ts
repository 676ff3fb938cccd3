import { expect, it } from "vitest";
import { progressOf, standsBecause, stateOf } from "./qemu-state.ts";

it("QEMU's run states are these of ours", () => {
  const table: [Parameters<typeof stateOf>[0], string, string][] = [
    // status            run            incoming
    ["running", "running", "running"],
    ["prelaunch", "paused", "incoming"],
    ["inmigrate", "running", "incoming"],
    ["paused", "paused", "paused"],
    ["io-error", "paused", "paused"],
    ["guest-panicked", "paused", "paused"],
    ["finish-migrate", "running", "running"],
    ["postmigrate", "postmigrate", "postmigrate"],
    // Silence: a machine of ours goes on; one that waits for custody must not seem to have it.
    [undefined, "running", "incoming"],
  ];
  for (const [status, run, incoming] of table)
    expect([status, stateOf(status, "run"), stateOf(status, "incoming")]).toEqual([status, run, incoming]);
});

it("one whose memory is kept stands still for that, also while QEMU sends that of a paused guest and once QEMU has sent all of it: it was not moved", () => {
  for (const status of ["paused", "finish-migrate", "postmigrate"])
    expect([
      stateOf(status, "run", "snapshot"),
      standsBecause(status, { held: "snapshot" }, () => false),
    ]).toEqual(["paused", "snapshot"]);
  expect(stateOf("postmigrate", "run", "migration")).toBe("postmigrate");
  expect(stateOf("finish-migrate", "run", "migration")).toBe("running");
});

it("a migration's steps are these of ours", () => {
  const phase = (status: string) =>
    progressOf({
      status,
      transferredBytes: 0,
      remainingBytes: 0,
      totalMs: 0,
      downtimeMs: 0,
      dirtyBytesPerSecond: 0,
    }).phase;
  expect(["setup", "active", "cancelling"].map(phase)).toEqual(Array(3).fill("active"));
  for (const same of ["none", "pre-switchover", "completed", "failed", "cancelled"] as const)
    expect(phase(same)).toBe(same);
});
