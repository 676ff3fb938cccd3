/**
 * The hosts of a simulation, from a file: objects of kind Host as `vireo get hosts -o yaml` prints them, or `hosts:` with a few figures of each. Pure.
 */
import { type Static, Type } from "typebox";
import { LineCounter, parseAllDocuments } from "yaml";
import type { Host } from "../../compute/hosts/kinds.ts";
import { OVERCOMMIT } from "../../compute/overcommit/kinds.ts";
import { isFields } from "../../resource/fields.ts";
import { Quantity } from "../../resource/kind.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { applyDefaults, pruneUnknown, validate } from "../../resource/schema.ts";
import { type HostView, viewHost } from "../estate/estate.ts";
import { curveFault, POINTS } from "../estate/watts.ts";
import { InputError } from "./trace.ts";

const Declared = Type.Object({
  name: Type.String({ pattern: "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$" }),
  count: Type.Integer({ minimum: 1, maximum: 20_000, default: 1 }),
  /** Logical ones. */
  processors: Type.Integer({ minimum: 1, maximum: 4096 }),
  /** Virtual CPUs for each of them. */
  overcommit: Type.Number({ minimum: 1, maximum: 32, default: OVERCOMMIT }),
  memory: Quantity({ description: "For machines." }),
  mhz: Type.Integer({ minimum: 100, maximum: 10_000, default: 2500 }),
  model: Type.String({ default: "declared" }),
  site: Type.String({ default: "" }),
  rack: Type.Optional(Type.String()),
  labels: Type.Optional(Type.Record(Type.String(), Type.String())),
  linkMbps: Type.Integer({ minimum: 1, default: 10_000 }),
  watts: Type.Optional(Type.Array(Type.Number(), { minItems: POINTS, maxItems: POINTS })),
});
export type DeclaredHosts = Static<typeof Declared>;
/** Of processors since 2008: machines can be moved between all of these. */
const GUEST_CPU = "Nehalem";
const Estate = Type.Object({ hosts: Type.Array(Declared, { minItems: 1 }) });

/** @param file for errors @throws InputError naming file, line and field */
export function readHosts(text: string, file: string): HostView[] {
  const lines = new LineCounter();
  const hosts = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true }).flatMap((document) => {
    const lineAt = (path: readonly (string | number)[]): number => {
      const node: unknown = document.getIn(path, true);
      const range = isFields(node) ? node.range : undefined;
      if (Array.isArray(range)) return lines.linePos(Number(range[0])).line;
      return path.length === 0 ? 1 : lineAt(path.slice(0, -1));
    };
    const [error] = document.errors;
    if (error)
      throw new InputError(`${file}:${error.linePos?.[0].line ?? "?"}: ${error.message.split("\n")[0]}`);
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (value === null || value === undefined) return [];
    if (isFields(value) && value.hosts !== undefined) return declared(value, file, lineAt);
    const objects = isFields(value) && Array.isArray(value.items) ? value.items : [value];
    return objects.map((object: unknown, i) =>
      told(object, `${file}:${lineAt(objects[0] === value ? [] : ["items", i])}`),
    );
  });
  if (hosts.length === 0)
    throw new InputError(
      `${file}: holds no host; it needs \`hosts:\`, or objects of kind Host as \`vireo get hosts -o yaml\` prints them`,
    );
  const names = new Set<string>();
  for (const { name } of hosts) {
    if (names.has(name)) throw new InputError(`${file}: host ${JSON.stringify(name)} is there twice`);
    names.add(name);
  }
  return hosts.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function told(object: unknown, where: string): HostView {
  if (!isFields(object) || object.kind !== "Host")
    throw new InputError(`${where}: neither \`hosts:\` nor an object of kind Host`);
  let view: HostView | undefined;
  try {
    // Safe: what is read of it below is guarded by the catch.
    view = viewHost(object as unknown as Host);
  } catch (cause) {
    throw new InputError(
      `${where}: is not readable as a Host: ${cause instanceof Error ? cause.message : "?"}`,
      {
        cause,
      },
    );
  }
  if (!view)
    throw new InputError(
      `${where}: a Host without status.facts and status.capacity: its agent has not told yet what it is`,
    );
  // What is so now is not so in the simulation.
  const { closed: _, maintenance: __, cordoned: ___, emptied: ____, ...rest } = view;
  return { ...rest, ready: true };
}

type LineAt = (path: readonly (string | number)[]) => number;

function declared(value: Record<string, unknown>, file: string, lineAt: LineAt): HostView[] {
  const [unknown] = pruneUnknown(value, Estate);
  const path = (field: string) =>
    field.split(/[.[\]]+/).flatMap((part) => (part === "" ? [] : [/^\d+$/.test(part) ? Number(part) : part]));
  const wrong = (field: string, why: string) =>
    new InputError(`${file}:${lineAt(path(field))}: ${field}: ${why}`);
  if (unknown) throw wrong(unknown, `is unknown; a host has ${Object.keys(Declared.properties).join(", ")}`);
  applyDefaults(value, Estate);
  const [cause] = validate(value, Estate);
  if (cause) throw wrong(cause.field, cause.message);
  // Safe: validated just now.
  const { hosts } = value as { hosts: DeclaredHosts[] };
  return hosts.flatMap((one, i) => {
    const fault = one.watts && curveFault(one.watts);
    if (fault) throw wrong(`hosts[${i}].watts`, fault);
    return alike(one);
  });
}

/** So many hosts that are the same. */
export function alike(one: DeclaredHosts): HostView[] {
  return Array.from({ length: one.count }, (_, n): HostView => {
    const name =
      one.count === 1 ? one.name : `${one.name}-${String(n + 1).padStart(`${one.count}`.length, "0")}`;
    return {
      name,
      ready: true,
      site: one.site,
      rack: one.rack ?? name,
      ...(one.labels ? { labels: one.labels } : {}),
      cpus: Math.floor(one.processors * one.overcommit),
      processors: one.processors,
      memoryBytes: parseBytes(one.memory),
      mhz: one.mhz,
      cores: one.processors,
      cpuModel: one.model,
      ...(one.watts
        ? { wattsCurve: one.watts, idleWatts: one.watts[0] ?? 0, maxWatts: one.watts.at(-1) ?? 0 }
        : {}),
      accelerator: "kvm",
      has: { guestCpus: [GUEST_CPU] },
      ssd: true,
      linkMbps: one.linkMbps,
    };
  });
}
