import { expect, it } from "vitest";
import { strokesOf } from "./typing.ts";

/** "KeyA down" and so on, of all strokes. */
const keys = (text: string) =>
  strokesOf(text).strokes.flatMap((events) =>
    events.map(({ code, down }) => `${code} ${down ? "down" : "up"}`),
  );

it("presses Shift for what needs it, and lets it go again", () => {
  expect(keys("a")).toEqual(["KeyA down", "KeyA up"]);
  expect(keys("A|")).toEqual(
    ["KeyA", "Backslash"].flatMap((key) => ["ShiftLeft down", `${key} down`, `${key} up`, "ShiftLeft up"]),
  );
  expect(strokesOf("A").strokes[0]?.[1]?.keysym).toBe(0x41);
});

it("has a key for each character of ASCII, and one Enter for each end of a line", () => {
  const ascii = String.fromCharCode(...Array.from({ length: 95 }, (_, i) => 32 + i));
  expect(strokesOf(ascii).unknown).toEqual([]);
  expect(strokesOf(ascii).strokes).toHaveLength(95);
  expect(keys("\r\n\n").filter((key) => key === "Enter down")).toHaveLength(2);
});

it("names what no key has, each once", () => {
  expect(strokesOf("größer ß").unknown).toEqual(["ö", "ß"]);
});
