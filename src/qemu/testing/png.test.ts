import { expect, it } from "vitest";
import { isWholePng, plainPng, readPng } from "./png.ts";

it("a picture of one colour is read as such, and not before it is whole", () => {
  const png = plainPng(30, 20, [200, 0, 100]);
  const read = readPng(png);
  expect([read.width, read.height, read.lit]).toEqual([30, 20, 600]);
  expect(read.shareOf([203, 2, 97])).toBe(1);
  expect(read.shareOf([0, 0, 100])).toBe(0);
  expect(isWholePng(png)).toBe(true);
  expect(isWholePng(png.subarray(0, -3))).toBe(false);
});
