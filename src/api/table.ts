/** What `kubectl get` prints: the server makes the table, from the columns that the kind declares. */
import { invalidity } from "../resource/invalid.ts";
import type { Kind, MadeColumn } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";

export type IncludeObject = "None" | "Metadata" | "Object";

const STEP =
  /\.([A-Za-z0-9_-]+)|\['([^']+)'\]|\[\?\(@\.([A-Za-z0-9_-]+)\s*==\s*["']([^"']*)["']\)\]|\[(\d+)\]/y;

type Step = { key: string } | { index: number } | { where: string; is: string };

/**
 * The steps of a path such as `.status.interfaces[0].address` or `.status.conditions[?(@.type=='Ready')].status`.
 * @throws Error when it is not such a path: a mistake in the kind's declaration
 */
export function parsePath(path: string): Step[] {
  const steps: Step[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < path.length) {
    const start = STEP.lastIndex;
    const match = STEP.exec(path);
    if (!match) throw new Error(`jsonPath ${path}: not understood from ${JSON.stringify(path.slice(start))}`);
    const [, name, quoted, where, is, index] = match;
    if (where !== undefined) steps.push({ where, is: is ?? "" });
    else if (index !== undefined) steps.push({ index: Number(index) });
    else steps.push({ key: name ?? quoted ?? "" });
  }
  return steps;
}

const parsed = new Map<string, Step[]>();

/** The value at a path, or undefined. */
export function valueAt(object: unknown, path: string): unknown {
  const steps = parsed.get(path) ?? parsePath(path);
  parsed.set(path, steps);
  let at: unknown = object;
  for (const step of steps) {
    if ("where" in step)
      at = Array.isArray(at) ? at.find((item) => own(item, step.where) === step.is) : undefined;
    else if ("index" in step) at = Array.isArray(at) ? at[step.index] : undefined;
    else at = own(at, step.key);
  }
  return at;
}

function own(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;
}

/** A span as kubectl writes ages: 45s, 5m30s, 3h, 12d. */
export function age(time: string, now = Date.now()): string {
  const then = Date.parse(time);
  if (Number.isNaN(then)) return "<unknown>";
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 ? `${minutes}m${seconds % 60}s` : `${minutes}m`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 ? `${hours}h${minutes % 60}m` : `${hours}h`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return hours % 24 ? `${days}d${hours % 24}h` : `${days}d`;
  if (days < 730) return `${days}d`;
  return `${Math.floor(days / 365)}y`;
}

function cell(object: Resource, column: MadeColumn<Resource>): string | number | boolean | null {
  if (column.text) return invalidity(object) === undefined ? column.text(object) : null;
  const value = valueAt(object, column.jsonPath);
  if (value === undefined || value === null) return column.type === "date" ? "<unknown>" : null;
  if (column.type === "date") return age(String(value));
  if (typeof value === "object") return JSON.stringify(value);
  if (column.type === "string") return String(value);
  return typeof value === "number" || typeof value === "boolean" ? value : String(value);
}

/** Only the metadata of an object: what kubectl needs for names, namespaces and labels. */
export function partialOf(object: Resource, version: string) {
  return {
    kind: "PartialObjectMetadata",
    apiVersion: `meta.k8s.io/${version}`,
    metadata: object.metadata,
  };
}

function columnsOf(kind: Kind) {
  return [
    { name: "Name", type: "string", format: "name", description: "Name of the object.", priority: 0 },
    ...kind.columns.map((column) => ({
      name: column.name,
      type: column.type === "date" ? "string" : column.type,
      format: "",
      description: column.description ?? "",
      priority: column.priority ?? 0,
    })),
  ];
}

/** A Table of the objects. In a watch only the first carries the column definitions. */
export function tableOf(
  kind: Kind,
  objects: readonly Resource[],
  options: { metadata: object; version: string; include: IncludeObject; withColumns?: boolean },
) {
  return {
    kind: "Table",
    apiVersion: `meta.k8s.io/${options.version}`,
    metadata: options.metadata,
    columnDefinitions: options.withColumns === false ? [] : columnsOf(kind),
    rows: objects.map((object) => ({
      cells: [object.metadata.name, ...kind.columns.map((column) => cell(object, column))],
      ...(options.include === "None"
        ? {}
        : { object: options.include === "Object" ? object : partialOf(object, options.version) }),
    })),
  };
}
