/** Packages that need not be named. */
import { expect, it } from "vitest";
import { broughtAlong } from "./brought.ts";

it("are those that others bring, directly or not; of a circle one stays; plumbing is always named", () => {
  const depends = new Map([
    ["app", ["liba", "other"]],
    ["liba", ["libb"]],
    ["libb", ["libc6"]],
    ["libc6", ["libgcc-s1"]],
    ["libgcc-s1", ["libc6"]],
    ["passwd", ["libc6"]],
    ["x", ["y", "passwd"]],
    ["y", ["x"]],
  ]);
  const brought = broughtAlong(depends, ["passwd"]);
  expect([...brought.keys()].sort()).toEqual(["liba", "libb", "libc6", "libgcc-s1", "x"]);
  expect(brought.get("libb")).toBe("app");
  expect(
    broughtAlong(
      new Map([
        ["a", ["b"]],
        ["b", ["a"]],
      ]),
      [],
    ),
  ).toEqual(new Map([["a", "b"]]));
});
