/** Builds that are over do not stay for ever, nor do their logs: the newest of each image, and those of images that are not there for a while. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { modify } from "../client/client.ts";
import { openControlPlane } from "../compute/testing/control-plane.ts";
import { silentLogger } from "../reconcile/log.ts";
import { SteppedClock } from "../reconcile/testing/stepped-clock.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { runImageReconciler } from "./reconciler.ts";

const DAY_MS = 24 * 3600_000;
const recipe = { distribution: "debian" as const, release: "bookworm" as const, packages: ["bash"] };
let plane: Awaited<ReturnType<typeof openControlPlane>>;
let stop: AbortController;
let clock: SteppedClock;
beforeEach(async () => {
  stop = new AbortController();
  plane = await openControlPlane();
  clock = new SteppedClock();
});
afterEach(async () => {
  stop.abort();
  await plane.close();
});

/** `count` of them, the last of which is the newest, and one that is not over. */
async function failedBuilds(image: string, count: number, verify?: true): Promise<void> {
  const { client } = plane;
  for (let n = 1; n <= count; n++) {
    const name = `${image}-${verify ? "v" : "b"}-${n}`;
    const spec = { image, recipe, ...(verify ? { verify } : {}) };
    await client.create(ImageBuild, { metadata: { name }, spec });
    const finishedTime = clock.now().toISOString();
    await modify(client, ImageBuild, { name }, "status", (now) => ({
      ...now,
      status: { phase: "Failed" as const, finishedTime },
    }));
  }
}
const names = async () => (await plane.client.list(ImageBuild)).items.map(({ metadata }) => metadata.name);
const run = () =>
  void runImageReconciler({ client: plane.client, clock, log: silentLogger, signal: stop.signal });
const soon = <T>(look: () => Promise<T>) =>
  expect.poll(async () => {
    await clock.step(100);
    return look();
  });

it("those of an image that no build has made are ten at most, and go after two weeks", async () => {
  await failedBuilds("none", 13);
  await plane.client.create(ImageBuild, { metadata: { name: "waits" }, spec: { image: "none", recipe } });
  run();
  await soon(async () => (await names()).length).toBe(11);
  expect(await names()).toContain("none-b-13");
  await clock.step(13 * DAY_MS);
  expect(await names()).toHaveLength(11);
  await clock.step(DAY_MS + 1000);
  await soon(names).toEqual(["waits"]);
});

it("of an image that is there verifications count, too", async () => {
  await failedBuilds("web", 14, true);
  await plane.client.create(Image, { metadata: { name: "web" }, spec: { recipe } });
  run();
  await soon(async () => (await names()).filter((name) => name.includes("-v-")).length).toBe(10);
  await clock.step(30 * DAY_MS);
  expect((await names()).filter((name) => name.includes("-v-"))).toHaveLength(10);
});
