/** Where in a text a field is, and what is being written there. */
import { expect, it } from "vitest";
import { cursorAt, pathOf, problemAt, syntaxProblems } from "./places.ts";

const POLICY = `apiVersion: vireo.dev/v2
kind: Policy
metadata:
  name: web
spec:
  goals:
    - goal: fastest
      weight: 1
  required:
  - host.cpu.mzh > 3
  - "host.rack == 'a1'"
  selector: {}
`;
const under = (field: string, message: string, text = POLICY) => {
  const { from, to } = problemAt(text, { field, message });
  return text.slice(from, to);
};

it("finds the field, or what it is missing in", () => {
  expect(pathOf('spec.goals[0].x["a.b"]')).toEqual(["spec", "goals", 0, "x", "a.b"]);
  expect(under("spec.goals[0].goal", "Unsupported value")).toBe("fastest");
  expect(under("spec.automation", "Required value")).toBe("spec");
  expect(under("spec.selector", "odd")).toBe("selector");
  expect(under("nothing", "odd")).toBe("");
});

it("points into an expression", () => {
  expect(under("spec.required[0]", 'Invalid value: column 10: host.cpu has no "mzh"')).toBe("mzh");
  expect(under("spec.required[1]", "Invalid value: column 6: odd")).toBe("rack");
  expect(under("spec.required[0]", "Invalid value: column 90: Unexpected token: EOF")).toBe("3");
});

it("says what is no YAML, and where", () => {
  expect(syntaxProblems(POLICY)).toEqual([]);
  expect(syntaxProblems("a: [1").length).toBeGreaterThan(0);
});

/** "|" is the cursor. */
const at = (text: string) => {
  const found = cursorAt(text.replace("|", ""), text.indexOf("|"));
  return (
    found && [
      found.path.join("."),
      found.at,
      [...found.beside].sort().join(" "),
      text.slice(found.from).split("|")[0],
    ]
  );
};

it.each([
  ["spec:\n  cp|", "spec", "key", "", "cp"],
  ["spec:\n  cpus: 1\n  |\n  memory: 1\nstatus: 1", "spec", "key", "cpus memory", ""],
  ["spec:\n  goals:\n    - goal: en|", "spec.goals.goal", "value", "", "en"],
  ["spec:\n  goals:\n    - goal: energy\n      we|", "spec.goals", "key", "goal", "we"],
  ["spec:\n  goals:\n  - goal: energy\n    weight: 1\n  - |", "spec.goals", "key", "", ""],
  ["spec:\n  required:\n    - host.c|", "spec.required", "key", "", "host.c"],
  [
    "a:\n  b: 1\nspec:\n  moves:\n    quiet:\n      - hours: 1\n  running: |",
    "spec.running",
    "value",
    "moves",
    "",
  ],
  ["|", "", "key", "", ""],
])("knows what is written in %j", (text, ...expected) => {
  const [path, kind, beside, typed] = at(text) ?? [];
  expect([path, kind, typed]).toEqual([expected[0], expected[1], expected[3]]);
  if (kind === "key") expect(beside).toBe(expected[2]);
});
