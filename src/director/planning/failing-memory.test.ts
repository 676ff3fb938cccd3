/** Memory that is about to fail: told, and the machines moved away where that is wanted, by the planner on the real API. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { modify } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { until } from "../../compute/testing/control-plane.ts";
import { type Estate, openEstate } from "../../compute/testing/estate.ts";
import { Event } from "../../reconcile/kinds.ts";
import { getCondition } from "../../resource/object.ts";
import { judgeMemory, MEMORY_FAILING } from "../estate/failing-memory.ts";
import { startPlanner } from "../testing/planner.ts";
import { Plan } from "./kinds.ts";

let estate: Estate;
let stop: () => Promise<void>;

beforeEach(async () => {
  estate = await openEstate();
  for (const name of ["a", "b"]) await estate.hostFacts(name);
  await estate.runMachine("web", "a");
  stop = startPlanner(estate.client);
});
afterEach(async () => {
  await stop();
  await estate.close();
});
const host = async () => (await estate.client.get(Host, { name: "a" })) as Host;
/** The agent's part. */
const errors = (correctedLastDay: number, uncorrected = 0) =>
  modify(estate.client, Host, { name: "a" }, "status", (now) => ({
    ...now,
    status: {
      ...now.status,
      memoryErrors: {
        time: new Date().toISOString(),
        modules: [{ module: "P1-DIMMA1", corrected: 5000, uncorrected, correctedLastDay }],
      },
    },
  }));
const failing = (wanted: string, reason?: string) =>
  until(`MemoryFailing ${wanted}`, async () => {
    const condition = getCondition((await host()).status?.conditions, MEMORY_FAILING);
    return condition?.status === wanted && (!reason || condition.reason === reason) ? condition : undefined;
  });

it("is told, stays so until it is acknowledged, and moves machines only when that is wanted", async () => {
  await errors(20);
  expect((await failing("False")).message).toBe("no module has more errors than usual");
  await errors(400);
  expect((await failing("True")).message).toBe(
    "P1-DIMMA1: 400 corrected errors within a day, 100 at most are usual (spec.failingMemory.correctedPerDay); vireo drain a moves its machines elsewhere, as spec.failingMemory.automation: act would",
  );
  await until("the event", async () =>
    (await estate.client.list(Event)).items.some(({ spec }) => spec.reason === "MemoryFailing"),
  );
  expect((await estate.client.list(Plan)).items).toEqual([]);
  await errors(3);
  const still = await failing("True", "NotAcknowledged");

  await estate.client.patch(Host, { name: "a" }, { spec: { failingMemory: { automation: "act" } } });
  const plan = await until("a plan", async () => (await estate.client.list(Plan)).items[0]);
  expect(plan.spec.moves).toMatchObject([
    {
      vm: "web",
      from: "a",
      to: "b",
      reason: "a is to be left: its memory is failing (condition MemoryFailing)",
    },
  ]);
  const evacuated = await until("Evacuated", async () =>
    getCondition((await host()).status?.conditions, "Evacuated"),
  );
  expect(evacuated).toMatchObject({ status: "False", message: "default/web goes to b" });

  const acknowledged = still.lastTransitionTime;
  await estate.client.patch(Host, { name: "a" }, { spec: { failingMemory: { acknowledged } } });
  await failing("False");
  await until("no Evacuated", async () => !getCondition((await host()).status?.conditions, "Evacuated"));
});

it("one error that could not be corrected is enough; off says nothing", async () => {
  await errors(0, 1);
  expect((await failing("True")).message).toMatch(
    /^P1-DIMMA1: 1 error that could not be corrected since the host was started;.*; that can be acknowledged \(spec.failingMemory.acknowledged\) once the host has been started anew$/,
  );
  await estate.client.patch(Host, { name: "a" }, { spec: { failingMemory: { automation: "off" } } });
  await until("no condition", async () => !getCondition((await host()).status?.conditions, MEMORY_FAILING));
  expect(judgeMemory(await host())).toBeUndefined();
});

it("watts are two values or a curve", async () => {
  const refusal = (watts: number[]) =>
    estate.client.patch(Host, { name: "a" }, { spec: { watts } }).then(
      () => "taken",
      (error: Error) => error.message,
    );
  expect(await refusal([10, 20, 30])).toMatch(
    /spec.watts: Invalid value: .*2 values \(idle, full load\) or 11/,
  );
  expect(await refusal([100, 20])).toMatch(/spec.watts: .*a value is below the one before/);
  expect(await refusal([50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150])).toBe("taken");
});
