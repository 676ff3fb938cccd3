import { expect, it } from "vitest";
import { Kept } from "./kept.ts";

it("what was not asked for the longest goes when there are too many characters", () => {
  const kept = new Kept<number>({ characters: 1000, parts: 100 });
  for (let i = 0; i < 10; i++) kept.set(`a${i}`.padEnd(80), i);
  expect(kept.size).toBe(10);
  expect(kept.get("a0".padEnd(80))).toBe(0);
  kept.set("one more", 10);
  expect(kept.get("a0".padEnd(80))).toBe(0);
  expect(kept.get("one more")).toBe(10);
  expect(kept.get("a1".padEnd(80))).toBeUndefined();
  for (let i = 0; i < 10_000; i++) kept.set(`b${i}`, i);
  expect(kept.size).toBeLessThan(43);
  expect(kept.get("b9999")).toBe(9999);
});

it("and when what was made has grown too much", () => {
  const kept = new Kept<object>({ characters: 1000, parts: 100 });
  const [a, b] = [{}, {}];
  kept.set("a", a);
  kept.set("b", b);
  for (let i = 0; i < 90; i++) kept.grown("a", a);
  // Of one that is no longer kept it says nothing.
  for (let i = 0; i < 90; i++) kept.grown("b", {});
  expect(kept.size).toBe(2);
  kept.get("a");
  for (let i = 0; i < 11; i++) kept.grown("b", b);
  expect(kept.get("b")).toBeUndefined();
  expect(kept.size).toBe(0);
});
