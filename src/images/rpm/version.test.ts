/** Order of RPM versions: cases of rpm's own tests of rpmvercmp. */
import { expect, it } from "vitest";
import { compareRpmVersions } from "./version.ts";
import { newestOf } from "./zypper.ts";

it.each([
  ["1.0", "1.0", 0],
  ["1.0", "2.0", -1],
  ["2.0.1", "2.0.1a", -1],
  ["5.5p1", "5.5p10", -1],
  ["10xyz", "10.1xyz", -1],
  ["xyz10", "xyz10.1", -1],
  ["xyz.4", "8", -1],
  ["6.5p1", "5.6p1", 1],
  ["6.0.rc1", "6.0", 1],
  ["10b2", "10a1", 1],
  ["10.0001", "10.1", 0],
  ["10.0001", "10.0039", -1],
  ["4.999.9", "5.0", -1],
  ["20101121", "20101122", -1],
  ["2_0", "2.0", 0],
  ["a+", "a_", 0],
  ["1.0~rc1", "1.0", -1],
  ["1.0~rc1", "1.0~rc2", -1],
  ["1.0^", "1.0", 1],
  ["1.0^git1", "1.0.1", -1],
  ["1.0~rc1^git1", "1.0~rc1", 1],
  ["1:0.9-1", "1.0-9", 1],
  ["1.0-9", "1.0-10", -1],
])("%s and %s", (a, b, order) => {
  expect(Math.sign(compareRpmVersions(a, b))).toBe(order);
  expect(Math.sign(compareRpmVersions(b, a))).toBe(0 - order || 0);
});

it("the newest of several repositories, in whatever order they are listed", () => {
  const of = (version: string) => ({ name: "kernel-default", version, arch: "x86_64" }) as const;
  const all = [of("6.4.0-150600.21.2"), of("6.4.0-150600.23.100.1"), of("6.4.0-150600.23.25.1")];
  expect(newestOf(all)).toBe(all[1]);
  expect(newestOf([])).toBeUndefined();
});
