/** What the pages make of several kinds at once. */
import { expect, it } from "vitest";
import { chosenBy, cpuShare, loadOf, memoryShare } from "./derive.ts";
import type { HostBrief, Machine, Policy } from "./kinds.ts";

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
