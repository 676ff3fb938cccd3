import { describe, expect, it } from "vitest";
import { kindIn, parseDocuments } from "./manifest.ts";

const KINDS = [
  { group: "vireo.dev", version: "v1", kind: "VirtualMachine" },
  { group: "", version: "v1", kind: "Secret" },
];
const names = (text: string) =>
  parseDocuments(text, "a.yaml").map(
    ({ object, where }) => `${where} ${object.kind}/${object.metadata.name}`,
  );

describe("manifests", () => {
  it("hold several documents, lists too, each with its line", () => {
    expect(
      names(
        "# first\nkind: A\napiVersion: v1\nmetadata: {name: x}\n---\n---\nkind: B\napiVersion: v1\nmetadata: {name: y}\n",
      ),
    ).toEqual(["a.yaml:2 A/x", "a.yaml:7 B/y"]);
    expect(
      names(
        '{"kind": "List", "apiVersion": "v1", "items": [{"kind": "A", "apiVersion": "v1", "metadata": {"name": "x"}}]}',
      ),
    ).toEqual(["a.yaml:1 A/x"]);
  });

  it.each([
    ["a: [", /^a\.yaml:1: /],
    ["kind: A\nkind: B\n", /^a\.yaml:2: Map keys must be unique/],
    ["\n- 1\n", /^a\.yaml:2: not an object; it needs apiVersion, kind, metadata and spec$/],
    ["kind: A\n", /^a\.yaml:1: apiVersion: is missing/],
    ["kind: 3\n", /^a\.yaml:1: kind: 3 is not a text/],
    ["kind: A\napiVersion: v1\nmetadata: {}\n", /^a\.yaml:1: metadata\.name: is missing$/],
    ["# nothing\n", /^a\.yaml: holds no object$/],
  ])("%j is told where it is wrong", (text, message) => {
    expect(() => parseDocuments(text, "a.yaml")).toThrow(message);
  });

  it("are of a kind that there is, or the nearest is named", () => {
    const find = (kind: string, apiVersion: string) => {
      const [document] = parseDocuments(
        JSON.stringify({ kind, apiVersion, metadata: { name: "x" } }),
        "a.yaml",
      );
      return document && kindIn(KINDS, document);
    };
    expect(find("Secret", "v1")).toBe(KINDS[1]);
    expect(() => find("VirtualMachin", "vireo.dev/v1")).toThrow(
      'a.yaml:1: kind: "VirtualMachin" is unknown; did you mean "VirtualMachine"?',
    );
    expect(() => find("VirtualMachine", "vireo.dev/v2")).toThrow(
      'a.yaml:1: apiVersion: "vireo.dev/v2" has no VirtualMachine; it is in vireo.dev/v1',
    );
  });
});
