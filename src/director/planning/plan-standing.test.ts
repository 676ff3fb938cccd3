import { expect, it } from "vitest";
import type { Plan } from "./kinds.ts";
import { decide, isCarriedOut, isPlanUnderWay, isProposal } from "./plan-standing.ts";

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
    metadata: { name: "approved-2s" },
    spec: {
      trigger: `a user approved ${chosen.length} of 2 moves of p`,
      automation: "ask",
      approval: "Approved",
      moves: chosen,
    },
  },
});

it("approves and rejects a proposal by its own approval; a part of it is another plan, and it is settled", () => {
  for (const automation of ["ask", "advise"] as const) {
    expect(decide(plan(automation), moves, 100)).toEqual({ approval: "Approved" });
    expect(decide(plan(automation), [], 100)).toEqual({ approval: "Rejected" });
    const part = moves.slice(1);
    expect(decide(plan(automation), part, 100)).toEqual({ approval: "Rejected", ...instead(part) });
  }
});

it("is carried out when it acts or is approved, unless a user stops it", () => {
  const of = (automation: Plan["spec"]["automation"], approval?: "Approved" | "Rejected") =>
    isCarriedOut({ spec: { ...plan(automation).spec, ...(approval ? { approval } : {}) } });
  expect([of("act"), of("ask", "Approved"), of("advise", "Approved")]).toEqual([true, true, true]);
  expect([of("act", "Rejected"), of("ask"), of("advise"), of("ask", "Rejected")]).toEqual([
    false,
    false,
    false,
    false,
  ]);
});

it("is not under way while it only waits for the end of quiet hours", () => {
  const { spec } = plan("ask");
  const at = (phase: "Held" | "Running") =>
    isPlanUnderWay({ spec: { ...spec, approval: "Approved" }, status: { phase } });
  expect([at("Running"), at("Held")]).toEqual([true, false]);
});

it("that a user stops is under way until the executor has ended it, and no proposal", () => {
  const { spec } = plan("act");
  const stopped = (status: Plan["status"]) => {
    const one = { spec: { ...spec, approval: "Rejected" as const }, status };
    return [isPlanUnderWay(one), isProposal(one)];
  };
  const begun = [{ phase: "Running" as const }, { phase: "Waiting" as const }];
  expect(stopped({ phase: "Running", moves: begun })).toEqual([true, false]);
  expect(stopped({ phase: "Held", moves: begun.slice(1) })).toEqual([true, false]);
  expect(stopped({ phase: "Rejected", moves: begun })).toEqual([false, false]);
  // Nothing of it has begun: it has only to be said.
  expect(stopped({ phase: "Proposed" })).toEqual([false, false]);
  expect(isProposal(plan("ask"))).toBe(true);
});
