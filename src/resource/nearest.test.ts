import { describe, expect, it } from "vitest";
import { distance, hint, nearest } from "./nearest.ts";

describe("nearest", () => {
  it("counts letters put in, taken out and exchanged", () => {
    expect(distance("", "abc")).toBe(3);
    expect(distance("host", "hosts")).toBe(1);
    expect(distance("kitten", "sitting")).toBe(3);
  });
  it("finds what was meant, in whatever case", () => {
    expect(nearest("hsots", ["vm", "hosts", "pools"])).toBe("hosts");
    expect(nearest("HOST", ["vm", "hosts"])).toBe("hosts");
    expect(nearest("vn", ["vm", "hosts"])).toBe("vm");
  });
  it("says nothing rather than something far away", () => {
    expect(nearest("zebra", ["vm", "hosts"])).toBeUndefined();
    expect(hint("zebra", ["vm", "hosts"])).toBe("");
    expect(hint("anything", [])).toBe("");
    expect(hint("hots", ["vm", "hosts"])).toBe('; did you mean "hosts"?');
  });
});
