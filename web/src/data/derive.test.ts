/** What the pages make of several kinds at once. */
import { expect, it } from "vitest";
import { chosenBy, cpuShare, loadOf, memoryShare, phaseOfPlan } from "./derive.ts";
import type { HostBrief, Machine, Plan, Policy } from "./kinds.ts";

it("finds the machines of a policy, and looks at its selector once for all that have the same labels", () => {
  let looks = 0;
  const policy = {
    metadata: { name: "web", namespace: "shop" },
    spec: Object.defineProperty({}, "selector", {
      get: () => {
        looks++;
        return { matchLabels: { tier: "web" } };
      },
    }),
  } as Policy;
  const machines = Array.from({ length: 3000 }, (_, i) => ({
    metadata: { name: `m-${i}`, namespace: "shop", labels: { tier: i % 3 ? "web" : "db" } },
  }));
  expect(chosenBy(policy, machines)).toHaveLength(2000);
  expect(looks).toBe(2);
});

it("tells a host's watts by its whole curve and what its machines use, and what users say of it goes before facts", () => {
  const curve = [50, 100, 120, 130, 140, 150, 155, 160, 165, 170, 200];
  const host = (name: string, spec: object, power: object = { state: "On" }) =>
    ({
      metadata: { name },
      spec,
      status: {
        capacity: { cpus: 8, memory: "8Gi" },
        facts: { power: { idleWatts: 50, maxWatts: 200, curve }, memory: {} },
        power,
      },
    }) as unknown as HostBrief;
  const machine = (on: string, used?: number) =>
    ({
      metadata: { name: `${on}-${used}`, namespace: "default" },
      spec: { cpus: 2, memory: "1Gi" },
      status: {
        ...{ host: on, phase: "Running" },
        ...(used === undefined
          ? {}
          : {
              usage: {
                cpus: used,
                hostMemoryBytes: 0,
                disk: { readBytesPerSecond: 0, writtenBytesPerSecond: 0 },
                network: { receivedBytesPerSecond: 0, sentBytesPerSecond: 0 },
              },
            }),
      },
    }) as unknown as Machine;
  const hosts = [
    host("curve", {}),
    host("unmeasured", {}),
    host("said", { watts: [100, 300] }),
    host("empty", {}),
    host("off", {}, { state: "Off" }),
  ];
  const loads = loadOf(hosts, [machine("curve", 0.6), machine("unmeasured"), machine("said", 2)]);
  // Of 4 processors 0.6 are 15 %; who is not measured counts as its share of the 8 CPUs that are given out.
  expect(hosts.map(({ metadata }) => Math.round(loads.get(metadata.name)?.watts ?? -1))).toEqual([
    110, 125, 200, 50, 0,
  ]);
});

it("tells what machines have of a host as shares of what it gives out", () => {
  const host = (name: string, overcommit: object | undefined, memory = "8Gi") =>
    ({
      metadata: { name },
      spec: overcommit ? { overcommit } : {},
      status: { capacity: { cpus: 8, memory }, facts: { memory: { swapBytes: 4 * 2 ** 30 } } },
    }) as HostBrief;
  const machine = (on: string) =>
    ({
      metadata: { name: `on-${on}`, namespace: "default" },
      spec: { cpus: 6, memory: "6Gi" },
      status: { host: on, phase: "Running" },
    }) as Machine;
  const names = ["plain", "more", "odd"];
  const hosts = [host("plain", undefined), host("more", { cpu: 6, memory: 1.5 }), host("odd", {}, "8 GB?")];
  const loads = loadOf(hosts, names.map(machine));
  expect(names.map((name) => loads.get(name)).map((load) => load && [load.cpus, load.allCpus])).toEqual([
    [6, 8],
    [6, 24],
    [6, 0],
  ]);
  const [plain, more] = [loads.get("plain"), loads.get("more")];
  if (!plain || !more) throw new Error("no loads");
  expect([cpuShare(plain), memoryShare(plain)]).toEqual([0.75, 0.75]);
  expect([cpuShare(more), memoryShare(more)]).toEqual([0.25, 0.5]);
});

it("calls a plan that a user has stopped so until its moves have ended", () => {
  const plan = (approval: string | undefined, status?: object) =>
    phaseOfPlan({ metadata: { name: "p" }, spec: { approval }, status } as unknown as Plan);
  const moves = [{ phase: "Running" }];
  expect(plan(undefined)).toBe("Pending");
  expect(plan("Approved", { phase: "Running", moves })).toBe("Running");
  expect(plan("Rejected", { phase: "Running", moves })).toBe("Being stopped");
  expect(plan("Rejected", { phase: "Held", moves })).toBe("Being stopped");
  expect(plan("Rejected", { phase: "Rejected", moves })).toBe("Rejected");
});
