/** How `vireo plan show` calls the machines of a plan. */
import { expect, it } from "vitest";
import type { Plan } from "../director/kinds.ts";
import { describePlan } from "./plan-show.ts";

const movesOf = (...machines: [namespace: string, vm: string][]) => {
  const plan: Plan = {
    apiVersion: "vireo.dev/v2",
    kind: "Plan",
    metadata: { name: "p1" },
    spec: {
      trigger: "a test",
      automation: "act",
      moves: machines.map(([namespace, vm]) => ({
        namespace,
        vm,
        from: "a",
        to: "b",
        reason: "a test",
        expected: "nothing",
      })),
    },
  };
  const lines: string[] = [];
  describePlan(plan, (line) => lines.push(line));
  return lines.filter((line) => line.includes(" from "));
};

it("by namespace as well, when a plan spans several", () => {
  expect(movesOf(["shop", "web-1"], ["shop", "web-2"])).toEqual(["web-1 from a to b", "web-2 from a to b"]);
  expect(movesOf(["shop", "web-1"], ["blog", "web-1"])).toEqual([
    "shop/web-1 from a to b",
    "blog/web-1 from a to b",
  ]);
});
