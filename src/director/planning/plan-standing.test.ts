import { expect, it } from "vitest";
import type { Plan } from "../kinds.ts";
import { decide, isPlanUnderWay } from "./plan-standing.ts";

const move = (vm: string) => ({
  namespace: "default",
  vm,
  from: "a",
  to: "b",
  reason: "because",
  expected: "better",
});
const moves = [move("x"), move("y")];
const plan = (automation: Plan["spec"]["automation"]): Plan => ({
  apiVersion: "vireo.dev/v1",
  kind: "Plan",
  metadata: { name: "p" },
  spec: { trigger: "t", automation, moves },
  status: { phase: "Proposed" },
});
const instead = (chosen: typeof moves) => ({
  instead: {
    trigger: `a user approved ${chosen.length} of 2 moves of p`,
    automation: "ask",
    approval: "Approved",
    moves: chosen,
  },
});

it("approves and rejects a plan that asks by its own approval; a part of it is another plan, and it is settled", () => {
  expect(decide(plan("ask"), moves)).toEqual({ approval: "Approved" });
  expect(decide(plan("ask"), [])).toEqual({ approval: "Rejected" });
  const part = moves.slice(1);
  expect(decide(plan("ask"), part)).toEqual({ approval: "Rejected", ...instead(part) });
});

it("makes a plan of advice, which nobody can approve", () => {
  expect(decide(plan("advise"), moves)).toEqual(instead(moves));
  expect(decide(plan("advise"), [])).toEqual({});
});

it("is not under way while it only waits for the end of quiet hours", () => {
  const { spec } = plan("ask");
  const at = (phase: "Held" | "Running") =>
    isPlanUnderWay({ spec: { ...spec, approval: "Approved" }, status: { phase } });
  expect([at("Running"), at("Held")]).toEqual([true, false]);
});
