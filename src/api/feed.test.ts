import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Change } from "../store/store.ts";
import { Feed } from "./feed.ts";

const change = (revision: number, key: string, value = ""): Change => ({ type: "put", key, value, revision });

it("gives every follower each change after its revision, in order, and the same one to all", () => {
  const changes = fc.array(fc.constantFrom("a/1", "a/2", "b/1"), { maxLength: 30 });
  fc.assert(
    fc.property(
      changes,
      fc.nat(30),
      fc.nat(30),
      fc.constantFrom("", "a/", "b/"),
      (keys, at, after, prefix) => {
        const feed = new Feed(0);
        const all = keys.map((key, i) => change(i + 1, key));
        const seen: Change[] = [];
        for (const [i, each] of all.entries()) {
          if (i === at) feed.follow(prefix, Math.min(after, i), (one) => seen.push(one));
          feed.push(each);
        }
        const expected = all.filter(
          ({ key, revision }) => key.startsWith(prefix) && revision > Math.min(after, at),
        );
        expect(seen).toEqual(at < all.length ? expected : []);
        expect(seen.every((one) => all.includes(one))).toBe(true);
      },
    ),
  );
});

it("says when it no longer has what a follower has not seen", () => {
  const feed = new Feed(5);
  expect(feed.follow("", 4, () => {})).toBeUndefined();
  const large = "x".repeat(12 * 2 ** 20);
  for (let revision = 6; revision < 10; revision++) feed.push(change(revision, "a/1", large));
  expect(feed.follow("", 6, () => {})).toBeUndefined();
  const seen: number[] = [];
  const stop = feed.follow("", 7, ({ revision }) => seen.push(revision));
  feed.push(change(10, "a/1"));
  stop?.();
  feed.push(change(11, "a/1"));
  expect(seen).toEqual([8, 9, 10]);
});

it("keeps the newest of very many", () => {
  const feed = new Feed(0);
  for (let revision = 1; revision <= 50_000; revision++) feed.push(change(revision, "a/1"));
  const seen: number[] = [];
  feed.follow("", 49_990, ({ revision }) => seen.push(revision));
  expect(seen).toEqual([49_991, 49_992, 49_993, 49_994, 49_995, 49_996, 49_997, 49_998, 49_999, 50_000]);
  expect(feed.follow("", 30_000, () => {})).toBeUndefined();
});

it("holds on to nothing that it no longer gives out", async () => {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new Error("no gc");
  const feed = new Feed(0);
  const first = (() => {
    const each = change(1, "a/1");
    feed.push(each);
    return new WeakRef(each);
  })();
  for (let revision = 2; revision <= 10_001; revision++) feed.push(change(revision, "a/1"));
  // A WeakRef holds its target until the end of the turn in which it was made.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  expect(first.deref()).toBeUndefined();
  expect(feed.follow("", 1, () => {})).toBeDefined();
});
