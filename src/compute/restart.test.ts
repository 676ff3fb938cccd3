import { describe, expect, it } from "vitest";
import type { Instance, VirtualMachine } from "./kinds.ts";
import type { Suspended } from "./lifecycle/kinds.ts";
import { decideStart } from "./restart.ts";

type Spec = VirtualMachine["spec"];
type End = NonNullable<NonNullable<Instance["status"]>["end"]>;
const KIND = { apiVersion: "vireo.dev/v1" } as const;
const MINUTES = 60_000;

const vm = (spec: Partial<Spec> = {}, status: VirtualMachine["status"] = {}): VirtualMachine => ({
  ...KIND,
  kind: "VirtualMachine",
  metadata: { name: "web" },
  spec: {
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    networks: [],
    restart: "OnFailure",
    ...spec,
  },
  status,
});
const ended = (reason: End["reason"], ranMs = 1000, running = true): Instance => ({
  ...KIND,
  kind: "Instance",
  metadata: { name: "web-1" },
  spec: {
    vm: "web",
    vmUid: "u",
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    interfaces: [],
    running,
  },
  status: {
    startedTime: new Date(0).toISOString(),
    end: { reason, message: "as it was", time: new Date(ranMs).toISOString() },
  },
});

const KEPT = {
  time: "t",
  host: "a",
  sizeBytes: 1,
  saveMs: 1,
  accelerator: "tcg",
  cpuModel: "x",
} as const;

const FAILURES = [
  "GuestPanic",
  "Watchdog",
  "HostSignal",
  "HostRebooted",
  "OutOfMemory",
  "Killed",
  "Crashed",
  "StartFailed",
] as const;

describe("a machine that ended", () => {
  it.each(FAILURES)("by %s is started again, unless spec.restart is Never", (reason) => {
    expect(decideStart(vm(), ended(reason), MINUTES)).toEqual({ do: "start", restarts: 1 });
    expect(decideStart(vm({ restart: "Always" }), ended(reason), MINUTES).do).toBe("start");
    expect(decideStart(vm({ restart: "Never" }), ended(reason), MINUTES)).toMatchObject({
      do: "stay",
      phase: "Failed",
      reason,
    });
  });

  it("by its guest's own shutdown is started again with Always alone", () => {
    const down = ended("GuestShutdown");
    expect(decideStart(vm(), down, MINUTES)).toMatchObject({ do: "stay", phase: "Stopped" });
    expect(decideStart(vm({ restart: "Never" }), down, MINUTES)).toMatchObject({
      do: "stay",
      phase: "Stopped",
    });
    expect(decideStart(vm({ restart: "Always" }), down, MINUTES).do).toBe("start");
  });

  it("waits longer each time, up to 5 minutes, until a run lasted 10", () => {
    const waits = [0, 1, 2, 3, 8, 9, 30].map((restarts) => {
      const decision = decideStart(vm({}, { restarts }), ended("Crashed"), 0);
      return decision.do === "wait" ? decision.ms / 1000 : decision.do;
    });
    expect(waits).toEqual([1, 2, 4, 8, 256, 300, 300]);
    expect(decideStart(vm({}, { restarts: 9 }), ended("Crashed"), 299_999)).toMatchObject({
      do: "wait",
      ms: 1,
      totalMs: 300_000,
      restart: 10,
    });
    expect(decideStart(vm({}, { restarts: 9 }), ended("Crashed", 10 * MINUTES), 0)).toMatchObject({
      do: "wait",
      totalMs: 1000,
      restart: 1,
    });
  });

  it("by a panic stays down when spec.onPanic says so", () => {
    const stop = vm({ onPanic: { action: "Stop" } });
    expect(decideStart(stop, ended("GuestPanic"), MINUTES)).toMatchObject({
      phase: "Failed",
      reason: "GuestPanic",
    });
    expect(decideStart(stop, ended("Crashed"), MINUTES).do).toBe("start");
  });

  it("by being suspended goes on when it may, and counts as no restart", () => {
    const rolledBack = ended("Suspended");
    const last = { ...rolledBack, status: { ...rolledBack.status, suspended: KEPT } };
    expect(decideStart(vm({ suspended: true }), last, 0)).toMatchObject({ do: "stay", phase: "Suspended" });
    expect(decideStart(vm({ suspended: true }), rolledBack, 0)).toMatchObject({
      phase: "Stopped",
      message: expect.stringContaining("its memory went when it was rolled back, and spec.suspended keeps"),
    });
    expect(decideStart(vm({}, { restarts: 2 }), last, 0)).toEqual({ do: "start", restarts: 2 });
    expect(decideStart(vm({ suspended: true }), ended("Crashed"), 0)).toMatchObject({
      phase: "Stopped",
      reason: "NotSuspended",
      message: expect.stringContaining("its run ended before it was suspended (Crashed: as it was)"),
    });
  });

  it("before it could go on with its memory is still suspended: that is kept", () => {
    const down = (suspended?: Suspended) =>
      decideStart(vm({ running: false }, suspended ? { suspended } : {}), ended("Requested"), 0);
    expect(down(KEPT)).toMatchObject({ do: "stay", phase: "Suspended" });
    // Also where it is suspended again before that.
    const { startedTime: _, ...status } = ended("Requested").status ?? {};
    const last = { ...ended("Requested"), status };
    const again = decideStart(vm({ suspended: true }, { suspended: KEPT }), last, 0);
    expect(again).toMatchObject({ do: "stay", phase: "Suspended" });
    expect(down()).toMatchObject({ do: "stay", phase: "Stopped" });
  });

  it("because its memory could not be loaded stays until it is asked for or given up", () => {
    const last = ended("ResumeFailed");
    expect(decideStart(vm(), last, MINUTES)).toMatchObject({ phase: "Failed", reason: "ResumeFailed" });
    expect(decideStart(vm({ discardMemory: true }), last, MINUTES).do).toBe("start");
    expect(decideStart(vm({ requests: { restart: "now" } }), last, 0)).toEqual({ do: "start", restarts: 0 });
  });

  it("is started at once when that is asked for, once for each request", () => {
    const asked = { requests: { restart: "now" } };
    expect(decideStart(vm({ ...asked, restart: "Never" }), ended("Crashed"), 0)).toEqual({
      do: "start",
      restarts: 0,
    });
    expect(decideStart(vm({ ...asked, restart: "Never" }, asked), ended("Crashed"), 0).do).toBe("stay");
    expect(decideStart(vm({ ...asked, running: false }), ended("Crashed"), 0)).toMatchObject({
      phase: "Stopped",
    });
    expect(decideStart(vm(), ended("Requested", 1000, false), 0)).toEqual({ do: "start", restarts: 0 });
  });
});
