/**
 * The package lists of a release as a SQLite file: made once of each day's lists, opened in milliseconds, and read by parts, so that it takes little
 * memory. Everything here blocks: index-worker.ts runs it on a thread of its own.
 */
import { rmSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { renameDurably } from "../../system/durable.ts";
import { type Candidate, type Closure, closureOf, type Universe } from "./closure.ts";
import { type Relation, relations, stanzas } from "./control.ts";
import { PLUMBING_PROVIDES } from "./plumbing.ts";
import { compareVersions } from "./version.ts";

/** In the file's name; raised when the tables change. */
export const INDEX_FORMAT = 2;
const PRIORITIES = ["required", "important", "standard", "optional", "extra"];
const OPTIONAL = 4;
/** Packages that a closure has read and that are kept for the next: a desktop has 900. */
const KEPT = 4000;

const SCHEMA = `
  PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
  CREATE TABLE packages (id INTEGER PRIMARY KEY, name TEXT UNIQUE, version TEXT, section TEXT, priority INTEGER, essential INTEGER,
    download INTEGER, installed INTEGER, description TEXT);
  CREATE TABLE relations (id INTEGER PRIMARY KEY, relations TEXT NOT NULL);
  CREATE TABLE lines (searched TEXT NOT NULL, facts TEXT NOT NULL);
  CREATE TABLE provides (name TEXT, id INTEGER, PRIMARY KEY (name, id)) WITHOUT ROWID;
`;

/** Of one package, as the picker shows it. */
export interface Listed {
  name: string;
  version: string;
  section: string;
  description: string;
  downloadBytes: number;
  installedBytes: number;
}

export interface Found {
  items: Listed[];
  /** Of all that were found. */
  total: number;
}

interface Stored {
  version: string;
  section: string;
  priority: number;
  essential: number;
  download: number;
  installed: number;
  description: string;
  depends: Relation[][];
  conflicts: Relation[];
  provides: Relation[];
}

/** Writes the file anew, under its name only when it is whole. @param lists the texts of the lists, in the order of the sources */
export async function writeIndex(path: string, lists: Iterable<string>): Promise<void> {
  const ids = new Map<string, number>();
  // Names get their numbers when they are first spoken of, as in apt's own cache.
  const idOf = (name: string): number => {
    const known = ids.get(name);
    if (known !== undefined) return known;
    ids.set(name, ids.size + 1);
    return ids.size;
  };
  const newest = new Map<string, Stored>();
  for (const text of lists)
    for (const fields of stanzas(text)) {
      const name = fields.get("Package");
      const version = fields.get("Version");
      if (name === undefined || version === undefined) continue;
      idOf(name);
      const pre = relations(fields.get("Pre-Depends"));
      const depends = relations(fields.get("Depends"));
      const conflicts = [...relations(fields.get("Conflicts")), ...relations(fields.get("Breaks"))].flat();
      const others = [...relations(fields.get("Recommends")), ...relations(fields.get("Suggests"))].flat();
      const provides = relations(fields.get("Provides")).flat();
      for (const relation of [...pre.flat(), ...depends.flat(), ...conflicts, ...others, ...provides])
        idOf(relation.name);
      const before = newest.get(name);
      if (before && compareVersions(before.version, version) >= 0) continue;
      const priority = PRIORITIES.indexOf(fields.get("Priority") ?? "") + 1;
      newest.set(name, {
        version,
        section: fields.get("Section") ?? "",
        priority: priority || OPTIONAL,
        essential: Number(fields.get("Essential") === "yes"),
        download: Number(fields.get("Size") ?? 0),
        installed: Number(fields.get("Installed-Size") ?? 0) * 1024,
        description: fields.get("Description")?.split("\n")[0] ?? "",
        depends: [...pre, ...depends],
        conflicts,
        provides,
      });
    }
  const part = `${path}.${process.pid}`;
  rmSync(part, { force: true });
  const db = new DatabaseSync(part);
  try {
    db.exec(SCHEMA);
    db.exec("BEGIN");
    const insert = db.prepare(
      "INSERT INTO packages (id, name, version, section, priority, essential, download, installed, description) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    const relate = db.prepare("INSERT INTO relations VALUES (?, ?)");
    const provide = db.prepare("INSERT OR IGNORE INTO provides VALUES (?, ?)");
    const needed = new Map<string, number>();
    for (const [name, stored] of newest) {
      const { version, section, priority, essential, download, installed, description } = stored;
      const id = idOf(name);
      insert.run(id, name, version, section, priority, essential, download, installed, description);
      const { depends, conflicts, provides } = stored;
      relate.run(id, JSON.stringify([depends, conflicts, provides]));
      for (const { name: provided } of provides) if (provided !== name) provide.run(provided, id);
      for (const [first] of depends) if (first) needed.set(first.name, (needed.get(first.name) ?? 0) + 1);
    }
    // One text for all: read as 60,000 rows it would take ten times as long.
    const lines = [...newest].map(([name, { description }]) => `${name}\t${description.toLowerCase()}`);
    const facts = [...newest].map(
      ([name, { section }]) => `${idOf(name)}\t${needed.get(name) ?? 0}\t${section}`,
    );
    db.prepare("INSERT INTO lines VALUES (?, ?)").run(lines.join("\n"), facts.join("\n"));
    db.exec("COMMIT");
  } finally {
    db.close();
  }
  await renameDurably(part, path);
}

const textOf = (row: Record<string, unknown>, name: string) => String(row[name] ?? "");
const numberOf = (row: Record<string, unknown>, name: string) => Number(row[name] ?? 0);

const listed = (row: Record<string, unknown>): Listed => ({
  name: textOf(row, "name"),
  version: textOf(row, "version"),
  section: textOf(row, "section"),
  description: textOf(row, "description"),
  downloadBytes: numberOf(row, "download"),
  installedBytes: numberOf(row, "installed"),
});

export interface SearchOptions {
  /** "net", whether of main or of contrib. */
  section?: string;
  limit: number;
  offset: number;
}

/** More words than anybody types. */
const WORDS = 10;

/** What a search looks at: of each package a line in both. */
interface Lines {
  /** Name and description, in lower case. */
  searched: string[];
  /** Number, how many need it, section. */
  facts: string[];
}

export class IndexFile implements Universe {
  readonly #db: DatabaseSync;
  readonly #byName: StatementSync;
  readonly #byProvided: StatementSync;
  readonly #candidates = new Map<string, Candidate | undefined>();
  readonly #providers = new Map<string, readonly Candidate[]>();
  #all: Lines | undefined;

  /** @throws Error when it is not there */
  constructor(path: string) {
    this.#db = new DatabaseSync(path, { readOnly: true });
    const columns = "packages.*, relations.relations FROM packages JOIN relations USING (id)";
    this.#byName = this.#db.prepare(`SELECT ${columns} WHERE name = ?`);
    this.#byProvided = this.#db.prepare(`SELECT ${columns} JOIN provides USING (id) WHERE provides.name = ?`);
  }

  get size(): number {
    return Number(this.#db.prepare("SELECT count(*) AS count FROM packages").get()?.count);
  }

  /** What every system with its package manager has. */
  essential(): string[] {
    const rows = this.#db.prepare("SELECT name FROM packages WHERE essential = 1 ORDER BY name").all();
    return rows.map((row) => textOf(row, "name"));
  }

  /** How many packages each section has. */
  sections(): { name: string; packages: number }[] {
    const rows = this.#db
      .prepare("SELECT section, count(*) AS count FROM packages GROUP BY section ORDER BY section")
      .all();
    return rows.map((row) => ({ name: textOf(row, "section"), packages: numberOf(row, "count") }));
  }

  /**
   * Packages that have all words of `text` in name or description; of them first the one of that name, then those whose name begins with it, then those that have
   * it in their name; the more packages need one the earlier.
   */
  search(text: string, { section, limit, offset }: SearchOptions): Found {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean).slice(0, WORDS);
    const whole = words.join("-");
    const { searched, facts } = this.#lines();
    const ranked = searched.flatMap((line, i) => {
      if (!words.every((word) => line.includes(word))) return [];
      const name = line.slice(0, line.indexOf("\t"));
      const [id, needed, of = ""] = facts[i]?.split("\t") ?? [];
      if (section !== undefined && of !== section && !of.endsWith(`/${section}`)) return [];
      const at = whole === "" ? 0 : name.indexOf(whole);
      const rank = name === whole ? 0 : at === 0 ? 1 : at > 0 ? 2 : name.includes(words[0] ?? "") ? 3 : 4;
      return [{ id: Number(id), name, rank, needed: Number(needed) }];
    });
    ranked.sort((a, b) => a.rank - b.rank || b.needed - a.needed || (a.name < b.name ? -1 : 1));
    const get = this.#db.prepare("SELECT * FROM packages WHERE id = ?");
    const items = ranked.slice(offset, offset + limit).flatMap(({ id }) => {
      const row = get.get(id);
      return row ? [listed(row)] : [];
    });
    return { items, total: ranked.length };
  }

  names(): string[] {
    return this.#lines().searched.map((line) => line.slice(0, line.indexOf("\t")));
  }

  #lines(): Lines {
    if (!this.#all) {
      const row = this.#db.prepare("SELECT searched, facts FROM lines").get() ?? {};
      const linesOf = (name: string) => textOf(row, name).split("\n");
      this.#all = { searched: linesOf("searched"), facts: linesOf("facts") };
    }
    return this.#all;
  }

  candidate(name: string): Candidate | undefined {
    if (this.#candidates.has(name)) return this.#candidates.get(name);
    const row = this.#byName.get(name);
    const found = row && candidateOf(row);
    if (this.#candidates.size >= KEPT) this.#candidates.clear();
    this.#candidates.set(name, found);
    return found;
  }

  providers(name: string): readonly Candidate[] {
    const known = this.#providers.get(name);
    if (known) return known;
    const found = this.#byProvided.all(name).map(candidateOf);
    if (this.#providers.size >= KEPT) this.#providers.clear();
    this.#providers.set(name, found);
    return found;
  }

  /** @param installed names that count as installed, with what apt is told that they provide */
  closure(chosen: readonly string[], installed: readonly string[]): Closure {
    const provides = (name: string): Relation[] => {
      const provided = PLUMBING_PROVIDES[name];
      return provided === undefined ? [] : [{ name: provided }];
    };
    const known = new Map(
      installed.filter((name) => !chosen.includes(name)).map((name) => [name, provides(name)]),
    );
    return closureOf(this, chosen, known);
  }

  close(): void {
    this.#db.close();
  }
}

function candidateOf(row: Record<string, unknown>): Candidate {
  // Safe: written above.
  const [depends, conflicts, provides] = JSON.parse(textOf(row, "relations")) as [
    Relation[][],
    Relation[],
    Relation[],
  ];
  return {
    ...listed(row),
    id: numberOf(row, "id"),
    priority: numberOf(row, "priority"),
    essential: numberOf(row, "essential") === 1,
    depends,
    conflicts,
    provides,
  };
}
