import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isApiError } from "../resource/errors.ts";
import type { Resource } from "../resource/object.ts";
import { parseFieldSelector, parseLabelSelector } from "./selectors.ts";
import { machineKind } from "./testing/machines.ts";

const machine = (labels: Record<string, string>): Resource => ({
  apiVersion: "vireo.dev/v1",
  kind: "Machine",
  metadata: { name: "m1", namespace: "default", labels },
  status: { phase: "Up" },
});
const web = machine({ app: "web", "vireo.dev/tier": "front", count: "5", empty: "" });

describe("label selectors", () => {
  it.each<[string, boolean]>([
    ["app=web", true],
    ["app==web,vireo.dev/tier=front", true],
    ["app = db", false],
    ["app!=web", false],
    ["none!=web", true],
    ["app in (web, db)", true],
    ["app in (db),count", false],
    ["app notin (db)", true],
    ["none notin (db)", true],
    ["app", true],
    ["!app", false],
    ["!none", true],
    ["empty=", true],
    ["empty", true],
    ["count>4", true],
    ["count > 5", false],
    ["count<6", true],
    ["app>1", false],
    ["none<1", false],
    ["app in (web),!x,count", true],
    ["toString", false],
    ["!constructor", true],
    ["toString!=x", true],
  ])("%s: %s", (selector, expected) => {
    expect(parseLabelSelector(selector)?.(web)).toBe(expected);
  });

  it("that are empty choose everything", () => {
    expect([parseLabelSelector(undefined), parseLabelSelector(" ")]).toEqual([undefined, undefined]);
  });

  it.each(["=x", "a in b", "a in (b", "a b", "a=b=c", "a>x", "(a)", "a,=b"])("%j is refused", (selector) => {
    expect(() => parseLabelSelector(selector)).toThrow("unable to parse requirement");
  });

  it("are read or refused quickly, whatever they are", () => {
    for (const long of [
      ",".repeat(15_000),
      "(,".repeat(7_500),
      "a".repeat(15_000),
      `${"a ".repeat(7_000)}in (`,
    ]) {
      const begin = performance.now();
      try {
        parseLabelSelector(long);
      } catch {
        // refused
      }
      expect(performance.now() - begin).toBeLessThan(1000);
    }
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."ab=!(),<>. in") }), (selector) => {
        try {
          parseLabelSelector(selector)?.(web);
        } catch (error) {
          expect(isApiError(error, "BadRequest")).toBe(true);
        }
      }),
    );
  });
});

describe("field selectors", () => {
  it.each<[string, boolean]>([
    ["metadata.name=m1", true],
    ["metadata.name=m2", false],
    ["metadata.namespace==default,status.phase!=Down", true],
    ["status.phase=", false],
  ])("%s: %s", (selector, expected) => {
    expect(parseFieldSelector(selector, machineKind)?.(web)).toBe(expected);
  });

  it("name what may be selected", () => {
    expect(() => parseFieldSelector("spec.mode=a", machineKind)).toThrow(
      "field label not supported: spec.mode; machines have metadata.name, metadata.namespace, status.phase",
    );
    expect(() => parseFieldSelector("nonsense", machineKind)).toThrow("invalid selector");
  });
});
