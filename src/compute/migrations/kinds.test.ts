import { expect, it } from "vitest";
import { transferOf } from "./kinds.ts";

it("a migration says how it is sent; what it does not say, its policies do, the first of them first", () => {
  const policies = [
    { downtimeMs: 50, postCopy: false },
    { bandwidth: "100Mi", postCopy: true },
  ];
  expect(transferOf([{ downtimeMs: 10 }, ...policies])).toEqual({
    downtimeMs: 10,
    bandwidth: "100Mi",
    postCopy: false,
  });
  expect(transferOf([undefined, undefined])).toEqual({});
});
