/** Distributions are there, whatever happens to them or to a write. */
import { afterEach, beforeEach, expect, it, type MockInstance, vi } from "vitest";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { silentLogger } from "../reconcile/log.ts";
import { SteppedClock } from "../reconcile/testing/stepped-clock.ts";
import { getCondition } from "../resource/object.ts";
import { runDistributionReconciler } from "./distribution-reconciler.ts";
import { Distribution } from "./kinds.ts";
import { allReleases, releaseOf } from "./releases/releases.ts";
import { SealedError } from "./workshop/sealed.ts";

const name = "debian-bookworm";
const SLIM = allReleases().filter((spec) => releaseOf(spec).modes.includes("slim"));
let plane: TestControlPlane;
let stop: AbortController;
let user: MockInstance<NonNullable<typeof process.getuid>>;
/** Programs that are started take long on a busy machine. */
const probes = {
  namespaces: async () => {},
  seal: vi.fn<() => Promise<SealedError | undefined>>(),
};
beforeEach(async () => {
  plane = await openControlPlane();
  stop = new AbortController();
  probes.seal.mockReset().mockResolvedValue(undefined);
  user = vi.spyOn(process, "getuid").mockReturnValue(1000);
});
afterEach(async () => {
  stop.abort();
  vi.restoreAllMocks();
  await plane.close();
});

const context = (clock: SteppedClock) => ({
  client: plane.client,
  clock,
  log: silentLogger,
  signal: stop.signal,
});

it("a write that fails is tried again, and ends nobody's lead; one that is deleted comes back", async () => {
  const clock = new SteppedClock();
  const { client } = plane;
  const create = vi.spyOn(client, "create").mockRejectedValueOnce(new Error("the store is away"));
  const ended = vi.fn();
  runDistributionReconciler(context(clock), probes).then(ended, ended);
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
  void runDistributionReconciler(context(clock), probes);
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

it("what this process may do is tried once for all of them, and again at each look", async () => {
  const clock = new SteppedClock();
  const { client } = plane;
  void runDistributionReconciler(context(clock), probes);
  /** What is said of each that there are slim images of. */
  const messages = async () => {
    const { items } = await client.list(Distribution);
    const found = items.map(({ status }) => getCondition(status?.conditions, "SlimBuildable"));
    return found.flatMap((each) => (each?.status === "True" ? [each.message] : []));
  };
  const all = (message: string | RegExp) => SLIM.map(() => expect.stringMatching(message));
  await expect.poll(messages).toEqual(all(/built here$/));
  expect(probes.seal).toHaveBeenCalledTimes(1);
  probes.seal.mockResolvedValue(new SealedError("unshare: Operation not permitted"));
  await expect
    .poll(async () => {
      await clock.step(10_000);
      return messages();
    })
    .toEqual(all(/, but not with recipe\.repositories/));
});
