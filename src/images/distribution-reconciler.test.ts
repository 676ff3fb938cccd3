/** Distributions are there, whatever happens to them or to a write. */
import { afterEach, beforeEach, expect, it, type MockInstance, vi } from "vitest";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { silentLogger } from "../reconcile/log.ts";
import { SteppedClock } from "../reconcile/testing/stepped-clock.ts";
import { getCondition } from "../resource/object.ts";
import { Distribution } from "./kinds.ts";
import { runImageReconciler } from "./reconciler.ts";

const name = "debian-bookworm";
let plane: TestControlPlane;
let stop: AbortController;
let user: MockInstance<NonNullable<typeof process.getuid>>;
beforeEach(async () => {
  plane = await openControlPlane();
  stop = new AbortController();
  // Who is not root may make no namespaces: whether they are to be had is not tried, which takes long on a busy machine.
  user = vi.spyOn(process, "getuid").mockReturnValue(1000);
});
afterEach(async () => {
  stop.abort();
  vi.restoreAllMocks();
  await plane.close();
});

it("a write that fails is tried again, and ends nobody's lead; one that is deleted comes back", async () => {
  const clock = new SteppedClock();
  const { client } = plane;
  const create = vi.spyOn(client, "create").mockRejectedValueOnce(new Error("the store is away"));
  const ended = vi.fn();
  runImageReconciler({ client, clock, log: silentLogger, signal: stop.signal }).then(ended, ended);
  const status = () =>
    expect.poll(async () => {
      await clock.step(1000);
      return (await client.get(Distribution, { name }))?.status;
    });
  await status().toMatchObject({ modes: ["slim", "full"] });
  expect(create.mock.calls.length).toBeGreaterThan(1);
  const before = await client.get(Distribution, { name });
  await client.delete(Distribution, { name });
  await status().toMatchObject({ modes: ["slim", "full"] });
  expect((await client.get(Distribution, { name }))?.metadata.uid).not.toBe(before?.metadata.uid);
  expect(ended).not.toHaveBeenCalled();
});

it("what can be done with them is looked at again: nobody tells when a program or a key has come", async () => {
  const clock = new SteppedClock();
  const { client } = plane;
  void runImageReconciler({ client, clock, log: silentLogger, signal: stop.signal });
  const full = () =>
    expect.poll(async () => {
      await clock.step(10_000);
      const { status } = (await client.get(Distribution, { name })) ?? {};
      return getCondition(status?.conditions, "FullBuildable")?.message;
    });
  await full().toMatch(/ as user 1000\./);
  user.mockReturnValue(1001);
  await full().toMatch(/ as user 1001\./);
});
