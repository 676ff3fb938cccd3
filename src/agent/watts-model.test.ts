/** Watts of a host that nobody has measured: of the published server that is like it, and said to be so. */
import { expect, it } from "vitest";
import { curveFault } from "../director/estate/watts.ts";
import { SPECPOWER } from "./specpower.ts";
import { modelWatts, processorKey } from "./watts-model.ts";

it("is the curve of the same processor, however its name is written, by the sockets", () => {
  for (const [name, key] of [
    ["Intel(R) Xeon(R) CPU E5-2660 v2 @ 2.20GHz", "e5-2660v2"],
    ["Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz", "8380"],
    ["AMD EPYC 7601 32-Core Processor", "epyc7601"],
    ["Intel(R) Xeon(R) CPU           X5670  @ 2.93GHz", "x5670"],
  ] as const)
    expect(processorKey(name)).toBe(key);
  const two = modelWatts({ model: "Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz", sockets: 2 });
  expect(two).toEqual({
    curve: [52, 113, 128, 142, 156, 173, 194, 228, 279, 318, 343],
    like: "SPECpower_ssj2008, a published server of its processor",
  });
  expect(modelWatts({ model: "Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz", sockets: 1 })).toMatchObject({
    curve: expect.arrayContaining([26, 172]),
    like: "SPECpower_ssj2008, a published server of its processor, for 1 instead of 2 sockets",
  });
});

it("else of the nearest of its family, and of no other", () => {
  expect(modelWatts({ model: "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", sockets: 2 })?.like).toMatch(
    /nearest processor, 61\d\d$/,
  );
  expect(modelWatts({ model: "AMD EPYC 7702 64-Core Processor", sockets: 2 })?.like).toMatch(
    /of its processor$/,
  );
  expect(modelWatts({ model: "AMD EPYC 7452 32-Core Processor", sockets: 2 })?.like).toMatch(/epyc7.{2}2/);
  for (const model of ["unknown", "QEMU Virtual CPU version 2.5+", "", "Intel(R) Core(TM) Ultra 7", "POWER9"])
    expect(modelWatts({ model, sockets: 1 })).toBeUndefined();
});

it("each of the table is a curve", () => {
  const bad = SPECPOWER.trim()
    .split("\n")
    .filter((line) => curveFault(line.split(" ").slice(2).map(Number)) !== undefined);
  expect(bad).toEqual([]);
});
