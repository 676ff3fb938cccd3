import { expect, it } from "vitest";
import { parseOutput, TablePrinter, tableFrom } from "./output.ts";

const answer = (...rows: [string, string, unknown][]) =>
  tableFrom({
    kind: "Table",
    metadata: { resourceVersion: "7" },
    columnDefinitions: [
      { name: "Name", priority: 0 },
      { name: "Why", priority: 1 },
      { name: "Age", priority: 0 },
    ],
    rows: rows.map(([namespace, name, age]) => ({
      cells: [name, "because", age],
      object: { metadata: { namespace, name } },
    })),
  });
const plain = { wide: false, namespaces: false, headers: true, prefix: "" };

it("prints tables: wide columns when asked for, one header for all that follows", () => {
  const printer = new TablePrinter(plain);
  expect(printer.lines(answer(["a", "web-1", "1m"], ["b", "x", null]))).toBe("NAME    AGE\nweb-1   1m\nx");
  expect(printer.lines(answer(["a", "y", "2m"]))).toBe("y       2m");
  const wide = new TablePrinter({ ...plain, wide: true, namespaces: true, prefix: "vm/" });
  expect(wide.lines(answer(["shop", "x", "1m"]))).toBe(
    "NAMESPACE   NAME   WHY       AGE\nshop        vm/x   because   1m",
  );
  expect(new TablePrinter(plain).lines(answer())).toBe("");
});

it("lets no cell steer the terminal", () => {
  const text = new TablePrinter(plain).lines(answer(["a", "x\u001b[2J\n\u202e", "1m"]));
  expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
  expect(text.split("\n")).toHaveLength(2);
});

it("tells what forms there are", () => {
  expect(() => parseOutput("jsn")).toThrow('-o "jsn" is not a form of output; did you mean "json"?');
  expect(() => parseOutput("jsonpath=")).toThrow("is empty");
  expect(() => tableFrom({ kind: "List" })).toThrow("does not answer with tables");
});
