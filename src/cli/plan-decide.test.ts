/** `vireo plan approve --move …`, and of advice, on the real API. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { Plan } from "../director/planning/kinds.ts";
import { decideWith } from "./plan-decide.ts";
import { stopWith } from "./plan-stop.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await openControlPlane();
});
afterEach(() => plane.close());

const move = (vm: string, namespace = "default") => ({
  namespace,
  vm,
  from: "a",
  to: "b",
  reason: "it is faster",
  expected: "speed",
});
const propose = (
  automation: Plan["spec"]["automation"],
  moves = [move("web-1"), move("web-2"), move("db-1")],
) => plane.client.create(Plan, { metadata: { name: "p" }, spec: { trigger: "a test", automation, moves } });
const approve = async (...moves: string[]) => {
  const lines: string[] = [];
  await decideWith(plane.client, "p", { decision: "Approved", moves }, (line) => lines.push(line));
  return lines;
};
/** The plan that was proposed, and the one that was made of a part of it. */
const plans = async () => {
  const { items } = await plane.client.list(Plan);
  const [proposed, made] = [true, false].map((is) =>
    items.find(({ metadata }) => (metadata.name === "p") === is),
  );
  return { proposed, made };
};

it("approves some of the moves of a plan that asks: they are a plan of their own, and the others are rejected", async () => {
  await propose("ask");
  const lines = await approve("db-1", "default/web-1");
  const { proposed, made } = await plans();
  expect(proposed?.spec.approval).toBe("Rejected");
  expect(made?.spec).toMatchObject({
    automation: "ask",
    approval: "Approved",
    trigger: "a user approved 2 of 3 moves of p",
    moves: [{ vm: "web-1" }, { vm: "db-1" }],
  });
  expect(lines).toEqual([
    "  web-1 from a to b: nothing predicted (it is faster)",
    "  db-1 from a to b: nothing predicted (it is faster)",
    `2 of 3 moves of plan/p approved, as plan/${made?.metadata.name}; \`vireo get plan/${made?.metadata.name} -w\` shows how it goes`,
  ]);
  await expect(approve()).rejects.toThrow("plan/p was rejected already");
});

it("of all moves is the plan's own approval, said one by one, too", async () => {
  await propose("ask");
  expect((await approve("web-1", "web-2", "db-1")).at(-1)).toMatch(/^plan\/p approved; /);
  const { proposed, made } = await plans();
  expect([proposed?.spec.approval, made]).toEqual(["Approved", undefined]);
});

it("approves advice, which is decided with that, or some of its moves, as a plan of its own", async () => {
  await propose("advise");
  await approve();
  const { proposed, made } = await plans();
  expect([proposed?.spec.approval, made]).toEqual(["Approved", undefined]);
  await expect(approve()).rejects.toThrow("plan/p was approved already");
});

it("rejects a proposal, and one that was approved while it waits; once it goes on it is stopped", async () => {
  const reject = () => decideWith(plane.client, "p", { decision: "Rejected" }, () => {});
  const phase = (of: "Held" | "Running") =>
    plane.client.patch(Plan, { name: "p" }, { status: { phase: of } }, { subresource: "status" });
  await propose("ask");
  await approve();
  await phase("Running");
  await expect(reject()).rejects.toThrow("plan/p is under way; `vireo plan stop p` stops it");
  await phase("Held");
  await reject();
  expect((await plans()).proposed?.spec.approval).toBe("Rejected");
  await expect(reject()).rejects.toThrow("plan/p was rejected already");
  await expect(plane.client.patch(Plan, { name: "p" }, { spec: { approval: "Approved" } })).rejects.toThrow(
    "was decided already",
  );
});

it("stops what is carried out, and nothing else", async () => {
  const stop = async (name?: string) => {
    const lines: string[] = [];
    await stopWith(plane.client, name, (line) => lines.push(line));
    return lines;
  };
  await expect(stop()).rejects.toThrow("no plan is being carried out");
  await propose("advise");
  await expect(stop("p")).rejects.toThrow("plan/p is not carried out; `vireo plan reject p` rejects it");
  await plane.client.delete(Plan, { name: "p" });
  await propose("act");
  const moves = (["Succeeded", "Running", "Waiting"] as const).map((phase) => ({ phase }));
  await plane.client.patch(
    Plan,
    { name: "p" },
    { status: { phase: "Running", moves } },
    { subresource: "status" },
  );
  expect(await stop()).toEqual([
    "  web-2 from a to b is cancelled",
    "  db-1 from a to b is not made",
    "plan/p is being stopped; `vireo plan show p` tells what came of it",
  ]);
  await expect(stop("p")).rejects.toThrow("plan/p was stopped or rejected already");
});

it("says what is wrong with the machines that are named, and then decides nothing", async () => {
  await propose("ask", [move("web-1"), move("web-1", "shop"), move("db-1")]);
  await expect(approve("db-2")).rejects.toThrow(
    'plan/p does not move "db-2"; it moves default/web-1, shop/web-1, default/db-1',
  );
  await expect(approve("db-1", "web-1")).rejects.toThrow(
    "plan/p moves several machines web-1: say default/web-1 or shop/web-1",
  );
  const { proposed, made } = await plans();
  expect([proposed?.spec.approval, made]).toEqual([undefined, undefined]);
});

it("does not decide what acts by itself", async () => {
  await propose("act");
  await expect(approve()).rejects.toThrow("plan/p does not ask: its automation is act");
  await expect(plane.client.patch(Plan, { name: "p" }, { spec: { approval: "Approved" } })).rejects.toThrow(
    "a plan that acts (spec.automation) needs no approval",
  );
});
