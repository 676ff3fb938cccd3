/** Failover capacity on the real API: whoever gives a machine its host, what a loss needs stays free; the policy's condition tells what does not hold. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { until } from "../../compute/testing/control-plane.ts";
import { type Estate, NS, openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { getCondition } from "../../resource/object.ts";
import { Policy } from "../kinds.ts";
import { runPlanner } from "../planning/planner.ts";
import { runScheduler } from "../planning/scheduler.ts";

let estate: Estate;
let stop: AbortController;
let running: Promise<unknown>;

beforeEach(async () => {
  estate = await openEstate();
  for (const name of ["a", "b"]) await estate.hostFacts(name);
  await estate.client.create(Policy, {
    metadata: { name: "shop", namespace: NS },
    spec: { selector: { matchLabels: { app: "shop" } }, failover: { per: "host", losses: 1 } },
  });
  stop = new AbortController();
  running = Promise.resolve();
});
afterEach(async () => {
  stop.abort();
  await running;
  await estate.close();
});
const shop = async (name: string, on: string, memory: string) => {
  await estate.client.create(VirtualMachine, {
    metadata: { name, namespace: NS, labels: { app: "shop" } },
    spec: { image: "web", memory },
  });
  await estate.instance(`${name}-1`);
  return estate.bind(`${name}-1`, on);
};
const refusal = (bound: Promise<unknown>) =>
  bound.then(
    () => "taken",
    (error: Error) => error.message,
  );

it("two who each take half of the room that is left do not both get it", async () => {
  await shop("db", "a", "600Mi");
  await estate.createMachine("one", { memory: "300Mi" });
  await estate.createMachine("two", { memory: "300Mi" });
  for (const name of ["one-1", "two-1"]) await estate.instance(name);
  // On b 1 GiB is free, of which the loss of a needs 600 MiB.
  const both = await Promise.all([refusal(estate.bind("one-1", "b")), refusal(estate.bind("two-1", "b"))]);
  expect(both.filter((each) => each === "taken")).toHaveLength(1);
  expect(both.find((each) => each !== "taken")).toMatch(
    /spec.host: Forbidden: host b: policy "shop" wants to survive it: the loss of host a would not be survived: db finds no room elsewhere/,
  );
  expect(await refusal(shop("db-2", "a", "300Mi"))).toMatch(/the loss of host a would not be survived/);
});

it("the scheduler leaves the room, and says so; the policy tells when a loss is not survived", async () => {
  const context = { client: estate.client, clock: systemClock, log: silentLogger, signal: stop.signal };
  await shop("db", "a", "600Mi");
  await estate.createMachine("large", { memory: "500Mi" });
  running = Promise.all([runScheduler(context), runPlanner(context)]);
  const waiting = await until("a refusal", async () => {
    const condition = getCondition((await estate.instance("large-1")).status?.conditions, "Scheduled");
    return condition?.status === "False" ? condition : undefined;
  });
  expect(waiting.message).toMatch(/b: policy "shop" wants to survive it: the loss of host a/);
  const satisfied = (wanted: string) =>
    until(`Satisfied ${wanted}`, async () => {
      const policy = await estate.client.get(Policy, { name: "shop", namespace: NS });
      const condition = getCondition(policy?.status?.conditions, "Satisfied");
      return condition?.status === wanted ? condition : undefined;
    });
  expect((await satisfied("True")).message).toBe(
    "holds for 1 machines; they find room elsewhere when any host is lost",
  );
  await estate.hostReady("b", "Unknown");
  expect((await satisfied("False")).message).toBe(
    "the loss of host a is not survived: db finds no room elsewhere",
  );
  expect((await estate.client.get(Instance, { name: "large-1", namespace: NS }))?.spec.host).toBeUndefined();
});
