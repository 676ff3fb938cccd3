import { expect, it } from "vitest";
import { problemOf } from "./expressions.ts";
import { inCel } from "./policy-v1.ts";

it.each([
  ["cpu.mhz", "AtLeast", ["3000"], "host.cpu.mhz >= 3000"],
  ["cpu.mhz", "AtMost", ["2.5e3"], "host.cpu.mhz <= 2500"],
  ["cpu.cores", "In", ["8", "16"], "host.cpu.cores in [8, 16]"],
  ["memory.bytes", "AtLeast", ["64Gi"], 'host.memory.bytes >= quantity("64Gi")'],
  ["power.idleWatts", "AtMost", ["60"], "host.power.idleWatts <= 60.0"],
  ["disk.ssd", "In", ["true"], "host.disk.ssd"],
  ["disk.ssd", "NotIn", ["true"], "!host.disk.ssd"],
  ["disk.ssd", "In", ["yes"], "false"],
  ["disk.ssd", "In", ["true", "false"], "host.disk.ssd in [true, false]"],
  ["cpu.model", "In", ['Xeon "E5"'], 'host.cpu.model == "Xeon \\"E5\\""'],
  ["site", "NotIn", ["a"], 'host.site != "a"'],
  ["name", "NotIn", ["a", "b"], '!(host.name in ["a", "b"])'],
])("%s %s %j becomes %s", (attribute, operator, values, expected) => {
  expect(inCel({ attribute, operator, values })).toBe(expected);
  expect(inCel({ attribute, operator: "Near", values })).toEqual({ attribute, operator: "Near", values });
  expect(problemOf(expected)).toBeUndefined();
});
