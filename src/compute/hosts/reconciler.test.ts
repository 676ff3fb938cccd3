import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Lease } from "../../reconcile/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { SteppedClock } from "../../reconcile/testing/stepped-clock.ts";
import { getCondition } from "../../resource/object.ts";
import { openControlPlane, type TestControlPlane } from "../testing/control-plane.ts";
import { Host } from "./kinds.ts";
import { runHostReconciler } from "./reconciler.ts";

let plane: TestControlPlane;
let clock: SteppedClock;
let stop: AbortController;
let running: Promise<void>;
let beats = 0;

const start = () => {
  stop = new AbortController();
  running = runHostReconciler({ client: plane.client, clock, log: silentLogger, signal: stop.signal });
};
const beat = () =>
  plane.client.patch(
    Lease,
    { name: "host-a" },
    { spec: { renewTime: `2026-01-01T00:00:00.${100 + beats++}Z` } },
  );
const ready = async () =>
  getCondition((await plane.client.get(Host, { name: "a" }))?.status?.conditions, "Ready");

beforeEach(async () => {
  plane = await openControlPlane();
  clock = new SteppedClock(() => plane.idle());
  await plane.client.create(Host, { metadata: { name: "a" }, spec: {} });
  start();
  await clock.step(100);
});
afterEach(async () => {
  stop.abort();
  await running;
  await plane.close();
});

describe("Host reconciler", () => {
  it("Ready follows the heartbeat, by our clock; silence is Unknown", async () => {
    expect(await ready()).toMatchObject({ status: "Unknown", reason: "NeverHeard" });
    await plane.client.create(Lease, {
      metadata: { name: "host-a" },
      spec: { holder: "a", durationSeconds: 40, renewTime: "1999-01-01T00:00:00.000Z" },
    });
    await clock.step(100);
    expect(await ready()).toMatchObject({ status: "True" });
    for (let i = 0; i < 5; i++) {
      await clock.step(30_000);
      await beat();
    }
    expect(await ready()).toMatchObject({ status: "True" });
    await clock.step(39_000);
    expect(await ready()).toMatchObject({ status: "True" });
    await clock.step(2000);
    expect(await ready()).toMatchObject({ status: "Unknown", reason: "Silent" });
    // A control plane that starts again does not take the old lease for a sign of life.
    stop.abort();
    await running;
    start();
    await clock.step(1000);
    expect(await ready()).toMatchObject({ status: "Unknown" });
    await beat();
    await clock.step(100);
    expect(await ready()).toMatchObject({ status: "True" });
    // Nor does it call a living host silent before it could have heard it.
    stop.abort();
    await running;
    await clock.step(100_000);
    start();
    await clock.step(30_000);
    expect(await ready()).toMatchObject({ status: "True" });
  });

  it("waits as long as the agent's lease says", async () => {
    await plane.client.create(Lease, {
      metadata: { name: "host-a" },
      spec: { holder: "a", durationSeconds: 8, renewTime: "2026-01-01T00:00:00.000Z" },
    });
    await clock.step(7000);
    expect(await ready()).toMatchObject({ status: "True" });
    await clock.step(2000);
    expect(await ready()).toMatchObject({
      reason: "Silent",
      message: "no heartbeat of its agent for 8 s; what runs on the host is not known",
    });
  });

  it.each([-3_600_000, 3_600_000])(
    "a clock that is put right, by %d ms, is no silence, and hides none",
    async (jump) => {
      await plane.client.create(Lease, {
        metadata: { name: "host-a" },
        spec: { holder: "a", durationSeconds: 40, renewTime: "2026-01-01T00:00:00.000Z" },
      });
      await clock.step(30_000);
      clock.jump(jump);
      // The host is looked at.
      await plane.client.patch(Host, { name: "a" }, { metadata: { labels: { rack: "one" } } });
      await clock.step(5000);
      expect(await ready()).toMatchObject({ status: "True" });
      await clock.step(6000);
      expect(await ready()).toMatchObject({ status: "Unknown", reason: "Silent" });
    },
  );
});
