/** Imports go one way (DESIGN, "Rooms"). The table is the rule: what is not listed is not allowed. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = resolve(import.meta.dirname, "../../src");

/** room -> rooms it may import. `kinds.ts` of any capability may be imported by the rooms in KINDS_READERS. */
const ALLOWED: Record<string, readonly string[]> = {
  resource: [],
  telemetry: ["resource"],
  store: ["resource", "telemetry"],
  client: ["resource", "telemetry"],
  api: ["resource", "store", "client", "telemetry"],
  reconcile: ["resource", "client", "telemetry"],
  qemu: ["system"],
  compute: ["resource", "client", "reconcile", "telemetry"],
  system: [],
  power: ["resource", "client", "reconcile", "system", "telemetry"],
  images: ["resource", "client", "reconcile", "system", "telemetry", "api"],
  director: ["resource", "client", "reconcile", "telemetry", "api"],
  consoles: ["resource", "client", "reconcile", "api", "telemetry"],
  agent: ["resource", "client", "reconcile", "qemu", "images", "system", "telemetry"],
  cli: [
    "resource",
    "client",
    "reconcile",
    "store",
    "api",
    "compute",
    "images",
    "director",
    "consoles",
    "power",
    "agent",
    "qemu",
    "system",
    "telemetry",
  ],
};
/** Capabilities know each other only by their kinds. */
const KINDS_READERS = ["compute", "images", "director", "consoles", "power", "agent"];
/** The registry: the one file above the rooms. */
const REGISTRY = "kinds.ts";
/** Pure cores, and all files whose first comment says that they are pure: no I/O, so no node: module but these. */
const PURE = [/^resource\//, /^director\/solver\/(?!parallel)/, /^consoles\/rfb\/(?:.*-messages|parse)\.ts$/];
const PURE_MODULES = ["node:crypto", "node:path", "node:util", "node:net", "node:assert"];

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return files(path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

function importsOf(path: string): string[] {
  const text = readFileSync(path, "utf8");
  return [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\s[^;"']*?from\s+["']([^"']+)["']|import\(\s*["']([^"']+)["']/g,
    ),
  ].map((match) => match[1] ?? match[2] ?? "");
}

const roomOf = (path: string) => relative(SRC, path).split("/")[0] ?? "";

const says = (path: string) =>
  existsSync(path) && /^\/\*\*(?:(?!\*\/)[\s\S])*\b[Pp]ure\b/.test(readFileSync(path, "utf8"));
const isPure = (path: string) => PURE.some((pattern) => pattern.test(relative(SRC, path))) || says(path);

/** @returns what is wrong with one import, or undefined */
function judge(from: string, to: string): string | undefined {
  const name = relative(SRC, from);
  if (!to.startsWith(".")) {
    if (isPure(from) && to.startsWith("node:") && !PURE_MODULES.includes(to))
      return `${name}: a pure core imports ${to}`;
    return undefined;
  }
  const target = resolve(dirname(from), to);
  const [room, other] = [roomOf(from), roomOf(target)];
  if (room === other || room === REGISTRY) return undefined;
  if (other === REGISTRY)
    return room === "cli" ? undefined : `${name}: only cli may import the registry of kinds`;
  if (ALLOWED[room]?.includes(other)) return undefined;
  if (KINDS_READERS.includes(room) && target.endsWith("/kinds.ts") && KINDS_READERS.includes(other))
    return undefined;
  return `${name}: room ${room} may not import ${relative(SRC, target)}`;
}

/** Rooms whose files import one way among themselves, too. May only grow. */
const ONE_WAY = [
  "agent",
  "client",
  "compute",
  "images",
  "qemu",
  "reconcile",
  "resource",
  "store",
  "system",
  "telemetry",
];

/** Of these rooms no folders (and files beside them) import each other in a circle, but for those. May only shrink. */
const FOLDERS_IN_CIRCLES = {
  images: ["archives", "garbage", "import", "kinds.ts"],
  director: ["estate", "kinds.ts", "rules", "sites.ts"],
};

/** @param graph what each file imports @returns those that import themselves, in the end */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const reached = (from: string): Set<string> => {
    const found = new Set<string>();
    const open = [...(graph.get(from) ?? [])];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (found.has(next)) continue;
      found.add(next);
      open.push(...(graph.get(next) ?? []));
    }
    return found;
  };
  return [...graph.keys()].filter((path) => reached(path).has(path));
}

describe("imports", () => {
  // Tests may reach further than the code they test.
  const all = files(SRC).filter((path) => !/\.test\.ts$|\/testing\//.test(path));

  it("go one way", () => {
    const wrong = all.flatMap((path) => importsOf(path).map((to) => judge(path, to))).filter(Boolean);
    expect(wrong).toEqual([]);
  });

  it("would be caught when they go the other way", () => {
    expect(judge(join(SRC, "store/x.ts"), "../api/server.ts")).toMatch(/room store may not import api/);
    expect(judge(join(SRC, "director/planning/plan.ts"), "node:fs")).toMatch(/pure core/);
    expect(judge(join(SRC, "qemu/x.ts"), "../resource/object.ts")).toMatch(/room qemu may not import/);
  });

  it("make no circle of files", () => {
    const graph = new Map(
      all.map((path) => [
        path,
        importsOf(path)
          .filter((to) => to.startsWith("."))
          .map((to) => resolve(dirname(path), to)),
      ]),
    );
    const inCircles = circles(graph).filter((path) => ONE_WAY.includes(roomOf(path)));
    expect(inCircles.map((path) => relative(SRC, path)).sort()).toEqual([]);
  });

  it.each(Object.entries(FOLDERS_IN_CIRCLES))("make no circle of folders of %s", (room, known) => {
    const partOf = (path: string) => relative(join(SRC, room), path).split("/")[0] ?? "";
    const graph = new Map<string, string[]>();
    for (const path of all.filter((each) => roomOf(each) === room)) {
      const others = importsOf(path)
        .filter((to) => to.startsWith("."))
        .map((to) => resolve(dirname(path), to))
        .filter((to) => roomOf(to) === room && partOf(to) !== partOf(path));
      graph.set(partOf(path), [...(graph.get(partOf(path)) ?? []), ...others.map(partOf)]);
    }
    expect(circles(graph).sort()).toEqual(known);
  });

  it("of a circle would be caught", () => {
    const graph = new Map([
      ["a", ["b"]],
      ["b", ["c", "d"]],
      ["c", ["b"]],
      ["d", []],
    ]);
    expect(circles(graph)).toEqual(["b", "c"]);
  });

  it("reach every room that exists", () => {
    const rooms = readdirSync(SRC, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(rooms.map((entry) => entry.name).filter((name) => !(name in ALLOWED))).toEqual([]);
  });
});
