import { expect, it } from "vitest";
import { type LifecycleVerb, specFor, type VerbOptions } from "./verbs.ts";

const of = (verb: LifecycleVerb, stop: { force?: boolean } | undefined, options: VerbOptions = {}) =>
  specFor(verb, { spec: { running: true, ...(stop ? { stop } : {}) } }, "now", options);

it("pulls the plug once, and asks the guest again where an earlier version left force behind", () => {
  expect(of("stop", undefined)).toEqual({ running: false });
  expect(of("stop", undefined, { force: true })).toEqual({ running: false, requests: { force: "now" } });
  expect(of("restart", undefined, { force: true })).toEqual({ requests: { restart: "now", force: "now" } });
  expect(of("stop", { force: true })).toEqual({ running: false, stop: { force: null } });
  expect(of("restart", { force: true }, { graceSeconds: 5 })).toEqual({
    requests: { restart: "now" },
    stop: { force: null, graceSeconds: 5 },
  });
  expect(of("start", { force: true })).toMatchObject({ running: true, stop: { force: null } });
  expect(of("stop", { force: true }, { force: true })).toEqual({
    running: false,
    requests: { force: "now" },
  });
});
