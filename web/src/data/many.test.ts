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
  await forEachOf([], refuse);
});
