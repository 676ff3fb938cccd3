import { afterEach, beforeEach, expect, it } from "vitest";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { announceControlPlane, controlPlaneMachines, runsControlPlane } from "./control-planes.ts";
import { Lease } from "./kinds.ts";
import { silentLogger } from "./log.ts";
import { SteppedClock } from "./testing/stepped-clock.ts";

const HOUR = 3_600_000;

let plane: TestControlPlane;
let clock: SteppedClock;
const ends: (() => Promise<void>)[] = [];

/** @returns ends it */
function announce(bootId: string): () => Promise<void> {
  const stop = new AbortController();
  const { client } = plane;
  const said = announceControlPlane({ client, clock, log: silentLogger, signal: stop.signal, bootId });
  const end = () => {
    stop.abort();
    return said;
  };
  ends.push(end);
  return end;
}

beforeEach(async () => {
  plane = await openControlPlane();
  clock = new SteppedClock(() => plane.idle());
});
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
  await plane.close();
});

it("tells of the machines of all control planes, also of two on one, and of each for a day after its end", async () => {
  const lease = { holder: "agent", durationSeconds: 15, renewTime: "2020-01-01T00:00:00Z" };
  for (const name of ["control-plane", "host-a"])
    await plane.client.create(Lease, { metadata: { name }, spec: lease });
  const end = announce("b1");
  announce("b2");
  announce("b2");
  await clock.step(1000);
  expect(await controlPlaneMachines(plane.client)).toEqual(new Set(["b1", "b2"]));
  await clock.step(2 * HOUR);
  expect(await runsControlPlane(plane.client, "b1")).toBe(true);
  await end();
  await clock.step(20 * HOUR);
  expect(await runsControlPlane(plane.client, "b1")).toBe(true);
  await clock.step(5 * HOUR);
  expect(await controlPlaneMachines(plane.client)).toEqual(new Set(["b2"]));
  expect(await runsControlPlane(plane.client, "b1")).toBe(false);
  expect(await runsControlPlane(plane.client, "")).toBe(false);
  expect((await plane.client.list(Lease)).items).toHaveLength(3);
});
