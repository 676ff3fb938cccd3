import { expect, it } from "vitest";
import { SendRate, secondsLeft } from "./send-rate.ts";

it("the time left counts what the guest writes meanwhile, and is not told when there is no end in sight", () => {
  expect(secondsLeft(1000, 100)).toBe(10);
  expect(secondsLeft(1000, 100, 50)).toBe(20);
  expect(secondsLeft(1000, 100, 100)).toBeUndefined();
  expect(secondsLeft(1000, 0)).toBeUndefined();
  expect(secondsLeft(0, 100, 99)).toBe(0);
  expect(secondsLeft(2 ** 30, 1e-20)).toBeUndefined();
});

it("the rate follows what is sent, and one odd look does not throw it over", () => {
  const rate = new SendRate();
  expect(rate.look(0, 1000)).toBeUndefined();
  expect(rate.look(100, 2000)).toBe(100);
  expect(rate.look(200, 3000)).toBe(100);
  expect(rate.look(200, 4000)).toBe(60);
  expect(rate.look(200, 4000)).toBe(60);
  expect(rate.look(0, 5000)).toBe(36);
});
