/** What is asked of many at once. */
import { expect, it } from "vitest";
import { AT_ONCE, forEachOf } from "./many.ts";

const machines = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ metadata: { name: `web-${i + 1}` } }));

it("asks each once, a few at a time, and tells how many are done", async () => {
  const asked: string[] = [];
  const told: number[] = [];
  let [open, most] = [0, 0];
  await forEachOf(
    machines(500),
    async ({ metadata }) => {
      asked.push(metadata.name);
      most = Math.max(most, ++open);
      await new Promise(setImmediate);
      open--;
    },
    (done) => told.push(done),
  );
  expect(new Set(asked).size).toBe(500);
  expect(asked).toHaveLength(500);
  expect(most).toBe(AT_ONCE);
  expect(told).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
});

it("asks all, whatever fails, and names the first of those that did", async () => {
  const asked: string[] = [];
  const refuse = async ({ metadata: { name } }: { metadata: { name: string } }) => {
    asked.push(name);
    if (asked.length > 2) throw new Error("not today");
  };
  await expect(forEachOf(machines(7), refuse)).rejects.toThrow(
    "5 of 7 failed: web-3: not today; web-4: not today; web-5: not today; and 2 more",
  );
  expect(asked).toHaveLength(7);
  await expect(forEachOf(machines(1), refuse)).rejects.toThrow(/^web-1: not today$/);
  expect(await forEachOf([], refuse)).toBe(0);
});

it("asks no more once it is stopped, and tells how many were asked", async () => {
  const stop = new AbortController();
  const asked: string[] = [];
  const ask = async ({ metadata: { name } }: { metadata: { name: string } }) => {
    asked.push(name);
    await new Promise(setImmediate);
    if (name === "web-21") stop.abort();
    if (name === "web-31") throw new Error("not today");
  };
  await expect(forEachOf(machines(500), ask, undefined, stop.signal)).rejects.toThrow(
    "1 of 40 failed: web-31: not today; the other 460 were not asked",
  );
  expect(asked).toHaveLength(40);
  expect(await forEachOf(machines(500), ask, undefined, stop.signal)).toBe(0);
});
