/** How `vireo plan show` calls the machines of a plan, and `vireo plan` what would be planned. */
import { expect, it } from "vitest";
import type { Previewed } from "../director/planning/answers.ts";
import type { Plan } from "../director/planning/kinds.ts";
import { describePlan, describePreview } from "./plan-show.ts";

const planOf = (...machines: [namespace: string, vm: string][]): Plan => ({
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
});
const movesOf = (...machines: [namespace: string, vm: string][]) => {
  const lines: string[] = [];
  describePlan(planOf(...machines), (line) => lines.push(line));
  return lines.filter((line) => line.includes(" from "));
};

it("by namespace as well, when a plan spans several", () => {
  expect(movesOf(["shop", "web-1"], ["shop", "web-2"])).toEqual(["web-1 from a to b", "web-2 from a to b"]);
  expect(movesOf(["shop", "web-1"], ["blog", "web-1"])).toEqual([
    "shop/web-1 from a to b",
    "blog/web-1 from a to b",
  ]);
});

it("tells what would be done with what would be planned, and that nothing would", () => {
  const told = (plans: Plan[], underWay?: string, broken?: Previewed["broken"]) => {
    const lines: string[] = [];
    describePreview(
      {
        kind: "PlanPreview",
        apiVersion: "vireo.dev/v1",
        plans,
        ...(underWay ? { underWay } : {}),
        ...(broken ? { broken } : {}),
      },
      (line) => lines.push(line),
    );
    return lines;
  };
  const asks = planOf(["shop", "db"]);
  asks.spec.automation = "ask";
  expect(told([planOf(["shop", "web-1"]), asks])).toEqual([
    "would be carried out:",
    "",
    "web-1 from a to b",
    "  why        a test",
    "",
    "would be proposed, for somebody to approve:",
    "",
    "db from a to b",
    "  why        a test",
  ]);
  const lines: string[] = [];
  const held = { kind: "PlanPreview", apiVersion: "vireo.dev/v1", plans: [], held: "p1" } as const;
  describePreview({ ...held, plans: [] }, (line) => lines.push(line));
  expect(lines).toEqual([
    "plan/p1 waits for the end of quiet hours; nothing else is planned for its machines until then",
    "no move is worth it now",
  ]);
  expect(told([], "p1")).toEqual([
    "plan/p1 is under way; until it is over only what has to go is planned",
    "nothing else has to go now",
  ]);
  const broken = [{ namespace: "shop", policy: "web", message: "web-1 on a: it has no ssd" }];
  expect(told([], undefined, broken)).toEqual([
    "no move is worth it now",
    "",
    "policy shop/web does not hold now: web-1 on a: it has no ssd",
  ]);
});

it("tells beside what came of a move what was measured some minutes later", () => {
  const plan = planOf(["shop", "web-1"]);
  const measured = { time: "2026-11-28T12:00:00Z", cpus: 0.25, watts: -12.5, expectedWatts: -20 };
  plan.status = {
    phase: "Succeeded",
    moves: [
      { phase: "Succeeded", actual: { seconds: 3, watts: -20 }, after: { expectedCpus: 0.5 }, measured },
    ],
  };
  const lines: string[] = [];
  describePlan(plan, (line) => lines.push(line));
  expect(lines.slice(-2)).toEqual([
    "  actual     3 s, 20 W less",
    "  later      0.25 processors used (0.5 expected), 12.5 W less (20 W less expected)",
  ]);
});
