/** How a command waits for an object, on the real API. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Client, modify } from "../client/client.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { Plan } from "../director/planning/kinds.ts";
import { ApiError } from "../resource/errors.ts";
import { follow, untilOver } from "./operation.ts";
import { Stopped } from "./stop-signal.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await openControlPlane();
});
afterEach(() => plane.close());

const at = { name: "p" };
const move = { namespace: "default", vm: "web", from: "a", to: "b", reason: "faster", expected: "speed" };
const propose = () =>
  plane.client.create(Plan, { metadata: at, spec: { trigger: "a test", automation: "ask", moves: [move] } });
const say = (phase: "Proposed" | "Running") =>
  modify(plane.client, Plan, at, "status", (plan) => ({ ...plan, status: { ...plan.status, phase } }));
/** A client by which a list has each of these in turn, whatever there is by now. */
const told = (lists: Plan[][], watch: Client["watch"]): Client =>
  Object.assign(Object.create(plane.client), {
    list: async () => {
      const items = lists.shift() ?? [];
      return { items, skipped: [], resourceVersion: items[0]?.metadata.resourceVersion };
    },
    watch,
  });
const soon = { timeoutMs: 60_000, signal: new AbortController().signal };

it("goes on until what it looks at says that it is over", async () => {
  const { metadata } = await propose();
  const seen: string[] = [];
  const over = untilOver(plane.client, Plan, metadata, soon, ({ status }) => {
    seen.push(status?.phase ?? "");
    return status?.phase === "Proposed" ? "later" : undefined;
  });
  await expect.poll(() => seen).toEqual([""]);
  await say("Proposed");
  expect(await over).toBe("later");
  expect(seen).toEqual(["", "Proposed"]);
});

it("ends with an object that is deleted", async () => {
  const { metadata } = await propose();
  const seen: (string | undefined)[] = [];
  const over = untilOver(plane.client, Plan, metadata, soon, (plan) => void seen.push(plan.metadata.uid));
  await expect.poll(() => seen).toEqual([metadata.uid]);
  await plane.client.delete(Plan, at);
  expect(await over).toBe("gone");
  expect(seen).toEqual([metadata.uid]);
});

it("waits past one of its name from before, which a control plane that lags behind still has, and then deletes", async () => {
  const before = await propose();
  await plane.client.delete(Plan, at);
  const { metadata } = await propose();
  const lagging = told([[before]], (...all) => plane.client.watch(...all));
  const seen: (string | undefined)[] = [];
  const over = untilOver(lagging, Plan, metadata, soon, (plan) => {
    seen.push(plan.metadata.uid);
    return plan.status?.phase === "Proposed" ? "done" : undefined;
  });
  await expect.poll(() => seen).toEqual([metadata.uid]);
  await say("Proposed");
  expect(await over).toBe("done");
});

it("ends when one of its name has come after it, also where nothing told that it was deleted", async () => {
  const mine = await propose();
  await plane.client.delete(Plan, at);
  const other = await propose();
  // Lists again, each time.
  const forgetful = told([[mine], [other]], () => {
    throw new ApiError("Expired", "the history is gone");
  });
  const seen: (string | undefined)[] = [];
  const over = untilOver(forgetful, Plan, mine.metadata, soon, (plan) => void seen.push(plan.metadata.uid));
  expect(await over).toBe("gone");
  expect(seen).toEqual([mine.metadata.uid]);
});

it("ends when the time is over, with what was seen last, or when nobody waits any more", async () => {
  const { metadata } = await propose();
  await say("Running");
  const standing = ({ status }: Plan) => ({ line: `is ${status?.phase}` });
  const lines: string[] = [];
  const late = follow(plane.client, Plan, metadata, { ...soon, timeoutMs: 500, standing }, (line) =>
    lines.push(line),
  );
  await expect(late).rejects.toThrow(
    "plan/p is not over after 0.5 s, and goes on: is Running; `vireo get plan/p -w` tells more",
  );
  expect(lines).toEqual(["plan/p is Running"]);
  const left = { ...soon, signal: AbortSignal.abort(new Stopped("SIGINT")) };
  await expect(untilOver(plane.client, Plan, metadata, left, () => undefined)).rejects.toThrow(
    new Stopped(
      "SIGINT",
      "plan/p goes on, only nobody waits for it any more; `vireo get plan/p -w` tells more",
    ),
  );
});
