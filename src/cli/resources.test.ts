import { describe, expect, it } from "vitest";
import { parseName } from "./resources.ts";

const served = (kind: string, plural: string, ...shortNames: string[]) => ({
  ...{ group: "vireo.dev", version: "v1", kind, plural, singular: kind.toLowerCase(), shortNames },
  ...{ categories: [], namespaced: false, verbs: ["list"] },
});
const KINDS = [served("Host", "hosts"), served("VirtualMachine", "virtualmachines", "vm")];

describe("a word for one object of a kind that is known", () => {
  it.each(["a", "host/a", "hosts/a", "host.vireo.dev/a"])("%s", (word) => {
    expect(parseName(KINDS, "host", word)).toEqual({ kind: KINDS[0], name: "a" });
  });

  it.each([
    ["vm/a", '"vm/a" is no host; say host/NAME'],
    ["host/", '"host/" is not KIND/NAME'],
    ["host/a/b", '"host/a/b" is not KIND/NAME'],
    ["", '"host/" is not KIND/NAME'],
  ])("is not %j", (word, why) => {
    expect(() => parseName(KINDS, "host", word)).toThrow(why);
  });
});
