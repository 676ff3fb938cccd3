/** A host in maintenance is emptied by plans, and says what stays. On the real API and reconcilers; the agents' part is played by hand. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Host } from "../../compute/hosts/kinds.ts";
import { Migration } from "../../compute/migrations/kinds.ts";
import { until } from "../../compute/testing/control-plane.ts";
import { type Estate, NS, openEstate } from "../../compute/testing/estate.ts";
import { Event } from "../../reconcile/kinds.ts";
import { getCondition } from "../../resource/object.ts";
import { Policy } from "../kinds.ts";
import { startDirector } from "../testing/planner.ts";
import { Plan } from "./kinds.ts";

let estate: Estate;
let stop: () => Promise<void>;

beforeEach(async () => {
  estate = await openEstate();
  for (const name of ["a", "b"]) await estate.hostFacts(name);
  await estate.runMachine("web", "a");
  stop = startDirector(estate.client);
});
afterEach(async () => {
  await stop();
  await estate.close();
});

const maintenance = (name: string, on: boolean) =>
  estate.client.patch(Host, { name }, { spec: { maintenance: on || null } });
const evacuated = async (name: string) =>
  getCondition((await estate.client.get(Host, { name }))?.status?.conditions, "Evacuated");
const untilEvacuated = (what: string, status: string, message: RegExp) =>
  until(what, async () => {
    const found = await evacuated("a");
    return found?.status === status && message.test(found.message) ? found : undefined;
  });

it("moves its machines away, whatever their stay time, and is empty then", async () => {
  await maintenance("a", true);
  await untilEvacuated("what is left", "False", /^default\/web (goes|is moving from a) to b$/);
  const plan = await until("the plan", async () => (await estate.client.list(Plan)).items[0]);
  expect(plan.spec.moves).toMatchObject([{ vm: "web", from: "a", to: "b", reason: "a is in maintenance" }]);
  const name = `${plan.metadata.name}-0`;
  await until("its migration", () => estate.client.get(Migration, { name, namespace: NS }));

  // The agents' part.
  await estate.instance("web-2", (i) => i.spec.incoming === true);
  await estate.report("web-2", { phase: "Incoming", custody: "None", incomingAddress: "tcp:10.0.0.2:4444" });
  await estate.instance("web-1", (i) => i.spec.migrateTo !== undefined);
  await estate.report("web-1", {
    phase: "Stopped",
    custody: "Released",
    migration: { to: "web-2", phase: "Completed", downtimeMs: 42 },
  });
  await estate.report("web-2", { custody: "Held", phase: "Running" });
  await untilEvacuated("it is empty", "True", /^no machine is on it$/);

  await maintenance("a", false);
  await until("no word of it", async () => ((await evacuated("a")) ? undefined : true));
});

it("says which machine stays, and why: no other host, or a policy that only advises", async () => {
  await maintenance("b", true);
  await maintenance("a", true);
  await untilEvacuated("the refusal", "False", /^default\/web has no other host .*b: it is in maintenance/);
  await estate.client.create(Policy, {
    metadata: { name: "web", namespace: NS },
    spec: { selector: { matchLabels: {} }, automation: "advise" },
  });
  await maintenance("b", false);
  await untilEvacuated(
    "the advice",
    "False",
    /moved by hand \(vireo migrate\), to b, say: policy web only advises/,
  );
  await until("the proposal", async () =>
    (await estate.client.list(Plan)).items.find(({ status }) => status?.phase === "Proposed"),
  );
  expect((await estate.client.list(Migration)).items).toEqual([]);
});

/** Nobody plays the agents: the move of big has no end; the other waits for it by a policy of both. */
async function hang(spec: Partial<Plan["spec"]>, other: [vm: string, from: string, to: string]) {
  for (const name of ["a", "b", "c"])
    await estate.hostFacts(name, {
      links: [{ name: "eth0", mac: "52:54:00:00:00:01", mbps: 10_000, up: true }],
    });
  await estate.runMachine("big", "b");
  await estate.runMachine("later", "c");
  await estate.client.create(Policy, {
    metadata: { name: "all", namespace: NS },
    spec: { selector: {}, automation: "act", spread: "site" },
  });
  const moves = ([["big", "b", "c"], other] as const).map(([vm, from, to]) => ({
    ...{ namespace: NS, vm, from, to, reason: "played", expected: "nothing" },
  }));
  await estate.client.create(Plan, {
    metadata: { name: "hangs" },
    spec: { trigger: "played", automation: "act", moves, ...spec },
  });
  const hanging = () => estate.client.get(Plan, { name: "hangs" });
  const waits = async () => (await hanging())?.status?.moves?.[1]?.message?.includes('"all"');
  await until("it to hang", async () => (await waits()) || undefined);
  return hanging;
}

it("names the plan that a machine waits for to leave", async () => {
  await hang({ undoes: "before" }, ["web", "a", "b"]);
  await maintenance("a", true);
  await untilEvacuated(
    "the plan",
    "False",
    /^default\/web goes to b by plan\/hangs: waits until big has moved: policy "all" is about both$/,
  );
});

it("while another plan hangs its machines leave all the same, and what had not begun of that plan is superseded", async () => {
  const hanging = await hang({}, ["later", "c", "b"]);
  await estate.client.delete(Policy, { name: "all", namespace: NS });
  await maintenance("a", true);
  const made = await until("another plan", async () =>
    (await estate.client.list(Plan)).items.find(({ metadata }) => metadata.name !== "hangs"),
  );
  expect(made.spec.moves).toMatchObject([
    { vm: "web", from: "a", reason: "a is in maintenance", needed: true },
  ]);
  const name = `${made.metadata.name}-0`;
  await until("its migration", () => estate.client.get(Migration, { name, namespace: NS }));
  const { status } = (await hanging()) ?? {};
  expect(status?.superseded).toBe(
    `${made.metadata.name} moves first what has to go: web from a (a is in maintenance)`,
  );
  const skipped = await until("it to be told", async () => {
    const [first, second] = (await hanging())?.status?.moves ?? [];
    return second?.phase === "Skipped" ? [first?.phase, second.message] : undefined;
  });
  expect(skipped).toEqual(["Running", `superseded: ${status?.superseded}`]);
  await until("the event", async () =>
    (await estate.client.list(Event)).items.find(
      ({ spec }) => spec.reason === "PlanSuperseded" && spec.about.name === "hangs",
    ),
  );
  // The one that had begun goes on, and the plan is over when that is.
  await estate.client.patch(Migration, { name: "hangs-0", namespace: NS }, { spec: { cancel: true } });
  await until("it to be over", async () => (await hanging())?.status?.phase === "Superseded" || undefined);
});
