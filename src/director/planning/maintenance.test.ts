/** A host in maintenance is emptied by plans, and says what stays. On the real API and reconcilers; the agents' part is played by hand. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Host } from "../../compute/hosts/kinds.ts";
import { Migration } from "../../compute/migrations/kinds.ts";
import { until } from "../../compute/testing/control-plane.ts";
import { type Estate, NS, openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { getCondition } from "../../resource/object.ts";
import { runPlanExecutor } from "../execution/executor.ts";
import { Plan, Policy } from "../kinds.ts";
import { runPlanner } from "./planner.ts";

let estate: Estate;
let stop: AbortController;
let running: Promise<unknown>;

beforeEach(async () => {
  estate = await openEstate();
  for (const name of ["a", "b"]) await estate.hostFacts(name);
  await estate.runMachine("web", "a");
  stop = new AbortController();
  const context = { client: estate.client, clock: systemClock, log: silentLogger, signal: stop.signal };
  running = Promise.all([runPlanner(context), runPlanExecutor(context)]);
});
afterEach(async () => {
  stop.abort();
  await running;
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
