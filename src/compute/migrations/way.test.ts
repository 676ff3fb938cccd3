/** Which of a host's links a move is reckoned by: the one that its streams go over. */
import { expect, it } from "vitest";
import { linksOf, wayOf } from "./way.ts";

const end = (mbps: number[], addressLink?: number) =>
  linksOf({
    links: mbps.map((each) => ({ mbps: each })),
    ...(addressLink === undefined ? {} : { addressLink: { mbps: addressLink } }),
  });
const between = (from: ReturnType<typeof end>, to: ReturnType<typeof end>) => wayOf({}, {}, from, to).mbps;

it("is the one that has the host's address, not the fastest", () => {
  // 25 Gbit/s for storage, 1 Gbit/s for the agent.
  expect(between(end([25_000, 1000], 1000), end([25_000], 25_000))).toBe(1000);
  expect(between(end([10_000, 10_000], 20_000), end([25_000], 25_000))).toBe(20_000);
  // Its driver does not tell: the fastest is another one.
  expect(between(end([25_000], 0), end([25_000], 25_000))).toBe(1000);
});

it("of agents that do not tell which that is, is the fastest", () => {
  expect(between(end([1000, 10_000]), end([25_000], 25_000))).toBe(10_000);
  expect(between(end([]), end([25_000]))).toBe(1000);
});
