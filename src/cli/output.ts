/** The forms in which objects are printed: -o table|wide|yaml|json|jsonpath=…|name. */
import { stringify } from "yaml";
import type { ServedKind } from "../client/discovery.ts";
import { isFields } from "../resource/fields.ts";
import { hint } from "../resource/nearest.ts";
import type { Resource } from "../resource/object.ts";
import { parseTemplate, render } from "./jsonpath.ts";
import { fullName } from "./resources.ts";
import { UserError } from "./user-error.ts";

export type Output =
  | { form: "table"; wide: boolean }
  | {
      form: "objects";
      print: (objects: readonly { kind: ServedKind; object: Resource }[], one: boolean) => string;
    };

export const OUTPUTS = ["table", "wide", "yaml", "json", "name", "jsonpath="];

/** What asks the server for a table. */
export const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/** Who owns which field is long and seldom asked for. */
export function withoutManagedFields(object: Resource): Resource {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** YAML that readers of 1.1 (kubectl, Python) understand as well: texts that look like times or truth there are in quotes. */
export const toYaml = (value: unknown) =>
  stringify(value, { version: "1.1", aliasDuplicateObjects: false, lineWidth: 0 });

/** @throws UserError */
export function parseOutput(text = "table", options: { showManagedFields?: boolean } = {}): Output {
  if (text === "table" || text === "wide") return { form: "table", wide: text === "wide" };
  const clean = (object: Resource) => (options.showManagedFields ? object : withoutManagedFields(object));
  const whole = (objects: readonly { object: Resource }[], one: boolean, shorten = clean): unknown => {
    const items = objects.map(({ object }) => shorten(object));
    return one && items.length === 1
      ? items[0]
      : { apiVersion: "v1", kind: "List", metadata: { resourceVersion: "" }, items };
  };
  if (text === "yaml")
    return {
      form: "objects",
      print: (objects, one) => toYaml(whole(objects, one)).trimEnd(),
    };
  if (text === "json")
    return { form: "objects", print: (objects, one) => JSON.stringify(whole(objects, one), undefined, 4) };
  if (text === "name")
    return {
      form: "objects",
      print: (objects) => objects.map(({ kind, object }) => fullName(kind, object.metadata.name)).join("\n"),
    };
  if (text.startsWith("jsonpath=")) {
    // It can ask for anything, so nothing is left out.
    const template = parseTemplate(text.slice("jsonpath=".length));
    return {
      form: "objects",
      print: (objects, one) =>
        render(
          template,
          whole(objects, one, (all) => all),
        ),
    };
  }
  throw new UserError(
    `-o ${JSON.stringify(text)} is not a form of output${hint(text, OUTPUTS)}; there are ${OUTPUTS.join(", ")}`,
  );
}

export interface TableAnswer {
  columns: { name: string; priority: number }[];
  rows: { cells: unknown[]; namespace: string; name: string }[];
  resourceVersion: string;
}

const text = (value: unknown) => (typeof value === "string" ? value : "");
const records = (value: unknown) => (Array.isArray(value) ? value.filter(isFields) : []);

/** The server's Table, checked. A row without a name is a bookmark's. */
export function tableFrom(answer: unknown): TableAnswer {
  if (!isFields(answer) || answer.kind !== "Table")
    throw new UserError(
      "the server does not answer with tables: it is no Vireo, or of another version (vireo version); -o yaml needs none",
    );
  const metadata = isFields(answer.metadata) ? answer.metadata : {};
  return {
    columns: records(answer.columnDefinitions).map(({ name, priority }) => ({
      name: text(name),
      priority: typeof priority === "number" ? priority : 0,
    })),
    rows: records(answer.rows).map((row) => {
      const object = isFields(row.object) ? row.object : {};
      const about = isFields(object.metadata) ? object.metadata : {};
      return {
        cells: Array.isArray(row.cells) ? row.cells : [],
        namespace: text(about.namespace),
        name: text(about.name),
      };
    }),
    resourceVersion: text(metadata.resourceVersion),
  };
}

/** What a cell shows. Text of guests and users must not steer the terminal. */
const shown = (cell: unknown) =>
  cell === null || cell === undefined ? "" : String(cell).replace(/[\p{Cc}\p{Cf}]+/gu, " ");

/** Prints the rows of one kind's tables under one header; later rows (of a watch) keep the widths where they fit. */
export class TablePrinter {
  #widths: number[] = [];
  #columns: TableAnswer["columns"] = [];
  #withHeader: boolean;
  readonly #options: { wide: boolean; namespaces: boolean; prefix: string };

  constructor(options: { wide: boolean; namespaces: boolean; headers: boolean; prefix: string }) {
    this.#options = options;
    this.#withHeader = options.headers;
  }

  /** @returns the lines, without the last newline; empty when there are none */
  lines(answer: TableAnswer): string {
    if (answer.columns.length > 0) this.#columns = answer.columns;
    const { wide, namespaces, prefix } = this.#options;
    const isShown = this.#columns.map(({ priority }) => wide || priority === 0);
    const all = answer.rows.map((row) => {
      const cells = row.cells.map(shown);
      cells[0] = `${prefix}${cells[0] ?? ""}`;
      return [...(namespaces ? [row.namespace] : []), ...cells.filter((_, i) => isShown[i])];
    });
    if (this.#withHeader && all.length > 0) {
      const names = this.#columns.filter((_, i) => isShown[i]).map(({ name }) => name.toUpperCase());
      all.unshift([...(namespaces ? ["NAMESPACE"] : []), ...names]);
      this.#withHeader = false;
    }
    for (const row of all)
      for (const [i, cell] of row.entries()) this.#widths[i] = Math.max(this.#widths[i] ?? 0, cell.length);
    return all
      .map((row) =>
        row
          .map((cell, i) => cell.padEnd(this.#widths[i] ?? 0))
          .join("   ")
          .trimEnd(),
      )
      .join("\n");
  }
}
