import { describe, expect, it } from "vitest";
import { getCondition, keyOf, setCondition, timestamp } from "./object.ts";

const ready = (status: "True" | "False", message = "") => ({
  type: "Ready",
  status,
  reason: "Test",
  message,
});

describe("conditions", () => {
  it("keep the time of the last transition while the status stays", () => {
    const first = setCondition(undefined, ready("False"), "t1");
    const same = setCondition(first, ready("False", "still"), "t2");
    const other = setCondition(same, ready("True"), "t3");
    expect(getCondition(same, "Ready")).toMatchObject({ message: "still", lastTransitionTime: "t1" });
    expect(getCondition(other, "Ready")?.lastTransitionTime).toBe("t3");
    expect(getCondition(first, "Ready")?.message).toBe("");
  });
  it("of other types stay where they are", () => {
    const list = setCondition(setCondition([], ready("True"), "t1"), { ...ready("True"), type: "B" }, "t2");
    expect(setCondition(list, ready("False"), "t3").map((c) => c.type)).toEqual(["Ready", "B"]);
  });
});

it("keys have the namespace when there is one", () => {
  expect(keyOf({ metadata: { name: "a" } })).toBe("a");
  expect(keyOf({ metadata: { name: "a", namespace: "n" } })).toBe("n/a");
});

it("times are in whole seconds", () => {
  expect(timestamp(new Date(1_700_000_000_999))).toBe("2023-11-14T22:13:20Z");
});
