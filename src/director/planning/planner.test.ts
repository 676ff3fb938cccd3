/** When the director plans again. On the real API; the executor's part is played. */
import { expect, it } from "vitest";
import type { Client } from "../../client/client.ts";
import { until } from "../../compute/testing/control-plane.ts";
import { NS, openEstate } from "../../compute/testing/estate.ts";
import { Policy } from "../kinds.ts";
import { startPlanner } from "../testing/planner.ts";
import { isFinalPlan, Plan } from "./kinds.ts";
import { isKnown, whyAgain } from "./planner.ts";

type Phase = NonNullable<NonNullable<Plan["status"]>["moves"]>[number]["phase"];

it("plans at once again after what was done or skipped, not after a failure, an undo or a stop", () => {
  const again = (
    phase: "Succeeded" | "Failed" | "Superseded" | "Rejected",
    moves: Phase[],
    spec: Partial<Plan["spec"]> = {},
  ) =>
    whyAgain({
      apiVersion: "vireo.dev/v1",
      kind: "Plan",
      metadata: { name: "p" },
      spec: { trigger: "played", automation: "act", moves: [], ...spec },
      status: { phase, moves: moves.map((of) => ({ phase: of })) },
    });
  expect(again("Succeeded", ["Succeeded"])).toBe("plan p was carried out");
  expect(again("Superseded", ["Skipped"])).toBe("not all of plan p could be done");
  expect(again("Failed", ["Succeeded", "Skipped"])).toBe("not all of plan p could be done");
  expect(again("Failed", ["Succeeded", "Skipped"], { undoes: "p0" })).toBeUndefined();
  expect(again("Failed", ["Failed", "Skipped"])).toBeUndefined();
  expect(again("Rejected", ["Succeeded", "Skipped"], { approval: "Rejected" })).toBeUndefined();
  // It was too late to stop it.
  expect(again("Succeeded", ["Succeeded"], { approval: "Rejected" })).toBeUndefined();
});

it("takes machines that cannot be read to be there", () => {
  const odd = [
    { object: "VirtualMachine/newer", message: "it does not have the shape of its kind" },
    { object: "Host/gone", message: "it does not have the shape of its kind" },
  ];
  const known = isKnown({ hosts: [], machines: [], policies: [], odd });
  expect(["default/newer", "default/gone"].map(known)).toEqual([true, false]);
});

it("waits longer after each plan that moved nothing", async () => {
  const estate = await openEstate();
  for (const [name, mhz] of [
    ["a", 2000],
    ["b", 3800],
  ] as const)
    await estate.hostFacts(name, { mhz });
  await estate.runMachine("web", "a");
  const required = ["host.cpu.mhz >= 3000"];
  await estate.client.create(Policy, {
    metadata: { name: "web", namespace: NS },
    spec: { selector: {}, required },
  });
  const stop = startPlanner(estate.client);
  const open = () =>
    until("a plan", async () =>
      (await estate.client.list(Plan)).items.find(({ status }) => status?.phase === undefined),
    );
  try {
    const waited: number[] = [];
    for (let ended = performance.now(); waited.length < 2; ended = performance.now()) {
      const { metadata } = await open();
      waited.push(performance.now() - ended);
      await estate.client.patch(
        Plan,
        { name: metadata.name },
        { status: { phase: "Superseded", moves: [{ phase: "Skipped" }] } },
        { subresource: "status" },
      );
    }
    expect(waited[1]).toBeGreaterThan(1300);
  } finally {
    await stop();
    await estate.close();
  }
});

it("takes back a plan that nobody has looked at yet when it makes another", async () => {
  const estate = await openEstate();
  for (const [name, mhz] of [
    ["a", 2000],
    ["b", 3800],
  ] as const)
    await estate.hostFacts(name, { mhz });
  await estate.runMachine("web", "a");
  await estate.client.create(Policy, {
    metadata: { name: "web", namespace: NS },
    spec: { selector: {}, automation: "ask", required: ["host.cpu.mhz >= 3000"] },
  });
  const { client } = estate;
  const stop = startPlanner(client);
  const planOf = (generation: number) =>
    until(`a plan by generation ${generation}`, async () =>
      (await client.list(Plan)).items.find(({ spec }) => spec.moves[0]?.policyGeneration === generation),
    );
  try {
    const first = await planOf(1);
    await client.patch(Policy, { name: "web", namespace: NS }, { spec: { priority: 1 } });
    const second = await planOf(2);
    const open = (await client.list(Plan)).items.filter((plan) => !isFinalPlan(plan));
    expect(open.map(({ metadata }) => metadata.name)).toEqual([second.metadata.name]);
    expect((await client.get(Plan, { name: first.metadata.name }))?.status?.phase).toBe("Superseded");
  } finally {
    await stop();
    await estate.close();
  }
});

it("removes all but the newest of the proposals that came to nothing", async () => {
  const { client, close } = await openEstate();
  for (let i = 10; i < 35; i++) {
    const name = `plan-${i}`;
    const moves = [{ namespace: NS, vm: "web", from: "a", to: "b", reason: "played", expected: "" }];
    await client.create(Plan, {
      metadata: { name },
      spec: { trigger: "played", automation: "ask", moves },
    });
    const endedTime = new Date(Date.now() - (60 - i) * 60_000).toISOString();
    await client.patch(
      Plan,
      { name },
      { status: { phase: "Superseded", endedTime } },
      { subresource: "status" },
    );
  }
  const stop = startPlanner(client);
  try {
    await until("the oldest going", async () => {
      const left = (await client.list(Plan)).items.map(({ metadata }) => metadata.name).sort();
      return left.length === 20 && left[0] === "plan-15";
    });
  } finally {
    await stop();
    await close();
  }
});

it.each<[string, (client: Client) => Promise<unknown>]>([
  ["deleted", (client) => client.delete(Plan, { name: "p" })],
  [
    "stopped by a user",
    async (client) => {
      const told = (status: Plan["status"]) =>
        client.patch(Plan, { name: "p" }, { status }, { subresource: "status" });
      await told({ phase: "Running", moves: [{ phase: "Running" }] });
      await client.patch(Plan, { name: "p" }, { spec: { approval: "Rejected" } });
      await told({ phase: "Rejected", moves: [{ phase: "Failed" }] });
    },
  ],
  [
    "stopped before it began",
    (client) => client.patch(Plan, { name: "p" }, { spec: { approval: "Rejected" } }),
  ],
])("what came up while a plan was under way is looked at when that is over: %s", async (_, end) => {
  const estate = await openEstate();
  for (const name of ["a", "b"]) await estate.hostFacts(name);
  await estate.runMachine("first", "a");
  const { client } = estate;
  await client.create(Policy, { metadata: { name: "all", namespace: NS }, spec: { selector: {} } });
  const stop = startPlanner(client);
  const chosen = async () => (await client.get(Policy, { name: "all", namespace: NS }))?.status?.machines;
  try {
    await until("the first to be seen", async () => (await chosen()) === 1);
    const [vm, from, to] = ["first", "a", "b"];
    const move = { namespace: NS, vm, from, to, reason: "played", expected: "nothing" };
    await client.create(Plan, {
      metadata: { name: "p" },
      spec: { trigger: "played", automation: "act", moves: [move] },
    });
    await estate.runMachine("second", "a");
    await end(client);
    // Else it would be, at the next look at the estate, a minute later.
    await until("the second to be seen", async () => (await chosen()) === 2);
  } finally {
    await stop();
    await estate.close();
  }
});

it("proposes in quiet hours, and while an approved plan waits for their end nothing else for its machines", async () => {
  const estate = await openEstate();
  for (const [name, mhz] of [
    ["a", 2000],
    ["b", 3800],
    ["c", 3800],
  ] as const)
    await estate.hostFacts(name, { mhz });
  await estate.runMachine("web", "a");
  await estate.runMachine("more", "c");
  const { client } = estate;
  await client.create(Policy, {
    metadata: { name: "web", namespace: NS },
    spec: {
      selector: {},
      automation: "ask",
      required: ["host.cpu.mhz >= 3000"],
      moves: { quiet: [{ hours: "00:00-12:00" }, { hours: "12:00-00:00" }] },
    },
  });
  const stop = startPlanner(client);
  const plans = async () => (await client.list(Plan)).items;
  try {
    const asked = await until("a proposal", async () => (await plans())[0]);
    expect(asked.spec).toMatchObject({ automation: "ask", moves: [{ vm: "web", policy: "web" }] });
    await client.patch(Plan, { name: asked.metadata.name }, { spec: { approval: "Approved" } });
    await client.patch(
      Plan,
      { name: asked.metadata.name },
      { status: { phase: "Held" } },
      { subresource: "status" },
    );
    // A round has come to its end when the policies are told of again.
    await estate.hostFacts("a", { mhz: 2100 });
    await client.create(Policy, {
      metadata: { name: "later", namespace: NS },
      spec: { selector: {}, priority: -1 },
    });
    await until(
      "a round",
      async () => (await client.get(Policy, { name: "later", namespace: NS }))?.status?.machines === 2,
    );
    await client.patch(
      Policy,
      { name: "later", namespace: NS },
      { spec: { selector: { matchLabels: { app: "none" } } } },
    );
    await until(
      "another",
      async () => (await client.get(Policy, { name: "later", namespace: NS }))?.status?.machines === 0,
    );
    expect((await plans()).map(({ metadata }) => metadata.name)).toEqual([asked.metadata.name]);
    // For others it proposes on: it may be long until the quiet time ends, or never.
    await estate.hostFacts("c", { mhz: 2000 });
    await client.patch(Policy, { name: "later", namespace: NS }, { spec: { priority: -2 } });
    const more = await until("another proposal", async () =>
      (await plans()).find(({ metadata }) => metadata.name !== asked.metadata.name),
    );
    expect(more.spec.moves.map(({ vm }) => vm)).toEqual(["more"]);
  } finally {
    await stop();
    await estate.close();
  }
});

it("leaves a plan that a user stops to the executor: what has begun is still to be cancelled, and told of", async () => {
  const estate = await openEstate();
  for (const [name, mhz] of [
    ["a", 2000],
    ["b", 3800],
  ] as const)
    await estate.hostFacts(name, { mhz });
  for (const vm of ["first", "web"]) await estate.runMachine(vm, "a");
  const { client } = estate;
  const [vm, from, to] = ["first", "a", "b"];
  const move = { namespace: NS, vm, from, to, reason: "played", expected: "nothing" };
  await client.create(Plan, {
    metadata: { name: "p" },
    spec: { trigger: "played", automation: "act", approval: "Rejected", moves: [move] },
  });
  const status: Plan["status"] = { phase: "Running", moves: [{ phase: "Running" }] };
  await client.patch(Plan, { name: "p" }, { status }, { subresource: "status" });
  await client.create(Policy, {
    metadata: { name: "web", namespace: NS },
    spec: { selector: {}, required: ["host.cpu.mhz >= 3000"] },
  });
  const stop = startPlanner(client);
  try {
    // What has to go, beside it.
    await until("a plan", async () =>
      (await client.list(Plan)).items.find(({ metadata }) => metadata.name !== "p"),
    );
    expect((await client.get(Plan, { name: "p" }))?.status).toEqual(status);
  } finally {
    await stop();
    await estate.close();
  }
});
