/** What is said of a rule that is no CEL: the place, the word that is there, and what was probably meant. */
import { describe, expect, it } from "vitest";
import { problemOf } from "./expressions.ts";

/** The first line. */
const said = (text: string) => problemOf(text)?.split("\n")[0];

describe("what was meant is told", () => {
  it.each([
    ["host.memory.bytes > 64Gi", 'column 23: "Gi" is not expected here; did you mean quantity("64Gi")?'],
    ["host.memory.bytes > 64G", 'column 23: "G" is not expected here; did you mean quantity("64G")?'],
    ["host.memory.bytes > 64 GiB", 'column 24: "GiB" is not expected here; did you mean quantity("64Gi")?'],
    ["host.memory.bytes >= 1.5Ti", 'column 25: "Ti" is not expected here; did you mean quantity("1.5Ti")?'],
    [
      "host.cpu.mhz > 2.5GHz",
      'column 19: "GHz" is not expected here; a number has no unit, did you mean 2500?',
    ],
    ["host.power.idleWatts > 60W", 'column 26: "W" is not expected here; a number has no unit'],
    ["host.cpu.mhz > 1 and host.disk.ssd", 'column 18: "and" is not expected here; did you mean &&?'],
    ["host.disk.ssd OR host.disk.ssd", 'column 15: "OR" is not expected here; did you mean ||?'],
    ["not host.disk.ssd", 'column 1: "not" is not expected here; did you mean !?'],
    ["host.disk.ssd && not host.disk.ssd", 'column 18: "not" is not expected here; did you mean !?'],
    ['labels.tier = "gold"', 'column 13: "=" is not expected here; did you mean ==?'],
    ["host.name === 'a'", 'column 11: "===" is not expected here; did you mean ==?'],
    ["host.cpu.mhz => 3000", 'column 14: "=>" is not expected here; did you mean >=?'],
    ["host.cpu.mhz =< 3", 'column 14: "=<" is not expected here; did you mean <=?'],
    ["host.cpu.mhz <> 3", 'column 14: "<>" is not expected here; did you mean !=?'],
    ["host.disk.ssd & host.disk.ssd", 'column 15: "&" is not expected here; did you mean &&?'],
    ["host.disk.ssd | true", 'column 15: "|" is not expected here; did you mean ||?'],
    ["host.name == “a”", 'column 14: "“" is not expected here; did you mean "?'],
    ["host.name in ('a', 'b')", 'column 18: a list is written in brackets: in ["a", "b"]'],
    // Nothing is known to be meant: the word that is pointed at all the same.
    ["host.disk.ssd yes", 'column 15: "yes" is not expected here'],
    ["host.disk.ssd)", 'column 14: ")" is not expected here'],
    ["host.name ~ 'x'", 'column 11: "~" is not expected here'],
  ])("%s", (text, problem) => {
    expect(said(text)).toBe(problem);
  });
});

it("a label or text that has such a word in it is no such case", () => {
  for (const rule of ['host.labels.not == "64Gi and = more"', 'host.labels["and"] == "<>"'])
    expect(problemOf(rule)).toBeUndefined();
});
