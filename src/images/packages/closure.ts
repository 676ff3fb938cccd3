/**
 * What comes with packages that are chosen: as apt's own solver would have it (no recommends), but in milliseconds, for a picker that asks at every click.
 * What is built is resolved by apt itself (packages.ts); bench/picker.ts and closure.real.test.ts hold the two against each other.
 *
 * As apt does, it goes down the dependencies of each package in their order and takes the first alternative that works: one that is taken already, else
 * the package of that name, else of those that provide it the essential one, the one of higher priority, and the one that the lists named last.
 * Pure.
 */
import { type Alternatives, type Relation, satisfies } from "./control.ts";

/** A package in the version that would be installed. */
export interface Candidate {
  /** In the order in which the lists first name it. */
  id: number;
  name: string;
  version: string;
  section: string;
  /** required 1 … extra 5. */
  priority: number;
  essential: boolean;
  description: string;
  downloadBytes: number;
  installedBytes: number;
  /** Pre-Depends, then Depends. */
  depends: readonly Alternatives[];
  /** Conflicts and Breaks. */
  conflicts: readonly Relation[];
  provides: readonly Relation[];
}

/** The lists. */
export interface Universe {
  candidate(name: string): Candidate | undefined;
  /** Those that provide it under another name. */
  providers(name: string): readonly Candidate[];
}

export interface Closure {
  /** In the order in which they were taken: each after the one that pulled it in. */
  packages: Taken[];
  /** Chosen names that the lists do not have. */
  unknown: string[];
  /** Why not all can be installed together; empty when they can. */
  conflicts: Conflict[];
}

/** A package as it is told of: without its relations, which would be most of what an answer copies from thread to thread. */
export interface Taken extends Omit<Candidate, "id" | "priority" | "depends" | "conflicts" | "provides"> {
  /** The package that first needed it; absent for those that were chosen. */
  because?: string;
}

export interface Conflict {
  package: string;
  /** For people. */
  reason: string;
  /** The other package, when it is about two. */
  with?: string;
}

/**
 * @param installed names that count as installed in a version that satisfies everybody
 */
export function closureOf(
  universe: Universe,
  chosen: readonly string[],
  installed: ReadonlyMap<string, readonly Relation[]> = new Map(),
): Closure {
  return new Solver(universe, installed).solve(chosen);
}

class Solver {
  readonly #universe: Universe;
  readonly #taken = new Map<string, { candidate: Candidate; because: string | undefined }>();
  /** Provided name -> those taken that provide it. */
  readonly #provided = new Map<string, { by: string; version?: string | undefined }[]>();
  readonly #installed: ReadonlySet<string>;
  readonly #discarded = new Set<string>();
  readonly #protected = new Set<string>();
  readonly #conflicts: Conflict[] = [];
  readonly #satisfiable = new Map<string, boolean>();
  /** A desktop compares 10,000 versions, nine in ten of them again. */
  readonly #fitting = new Map<string, boolean>();

  constructor(universe: Universe, installed: ReadonlyMap<string, readonly Relation[]>) {
    this.#universe = universe;
    this.#installed = new Set([
      ...installed.keys(),
      ...[...installed.values()].flatMap((provides) => provides.map(({ name }) => name)),
    ]);
  }

  solve(chosen: readonly string[]): Closure {
    const unknown: string[] = [];
    const known: Candidate[] = [];
    for (const name of new Set(chosen)) {
      const found = this.#named(name);
      if (found) known.push(found);
      else unknown.push(name);
    }
    // apt takes all that were asked for first, and then looks what each needs.
    for (const candidate of known) {
      this.#protected.add(candidate.name);
      this.#take(candidate, undefined);
    }
    for (const candidate of known) this.#install(candidate, undefined);
    this.#check();
    const packages = [...this.#taken.values()].map(({ candidate, because }) => told(candidate, because));
    return { packages, unknown, conflicts: this.#conflicts };
  }

  /** A name that only others provide is its provider, where there is but one. */
  #named(name: string): Candidate | undefined {
    const own = this.#universe.candidate(name);
    if (own) return own;
    const [only, ...more] = this.#universe.providers(name);
    return more.length === 0 ? only : undefined;
  }

  #take(candidate: Candidate, because: string | undefined): void {
    if (this.#taken.has(candidate.name)) return;
    this.#taken.set(candidate.name, { candidate, because });
    for (const { name, version } of candidate.provides) {
      const list = this.#provided.get(name) ?? [];
      list.push({ by: candidate.name, version });
      this.#provided.set(name, list);
    }
  }

  #drop(name: string): void {
    const was = this.#taken.get(name);
    if (!was) return;
    this.#taken.delete(name);
    for (const { name: provided } of was.candidate.provides) {
      const list = this.#provided.get(provided)?.filter(({ by }) => by !== name) ?? [];
      this.#provided.set(provided, list);
    }
  }

  /** @returns whether it is taken with all that it needs */
  #install(candidate: Candidate, because: string | undefined): boolean {
    const { name } = candidate;
    const fromUser = this.#protected.has(name) && because === undefined;
    if (this.#discarded.has(name)) return false;
    if (this.#taken.has(name) && !fromUser) return true;
    const hopeless = this.#hopeless(candidate);
    if (hopeless) {
      if (fromUser)
        this.#conflicts.push({ package: name, reason: `needs ${shown(hopeless)}, which is not to be had` });
      else this.#discarded.add(name);
      return false;
    }
    // What was taken and is in its way goes, unless it has to stay.
    for (const { name: other, by } of this.#inTheWay(candidate)) {
      if (this.#protected.has(other)) {
        if (fromUser) this.#between(name, other, by);
        else return false;
      } else this.#drop(other);
    }
    this.#take(candidate, because);
    const wasProtected = this.#protected.has(name);
    this.#protected.add(name);
    let complete = true;
    for (const group of candidate.depends) {
      if (group.some((relation) => this.#isMet(relation))) continue;
      if (this.#solve(group, (solution) => this.#install(solution, name))) continue;
      complete = false;
      if (!fromUser) break;
      this.#conflicts.push({
        package: name,
        reason: `needs ${shown(group)}, which cannot be installed with the others`,
      });
    }
    if (!wasProtected) this.#protected.delete(name);
    if (!complete && !fromUser) {
      this.#drop(name);
      this.#discarded.add(name);
    }
    return complete;
  }

  /** {@link satisfies}, each pair once. */
  #fits(version: string, relation: Relation): boolean {
    if (relation.op === undefined) return true;
    const key = `${version} ${relation.op} ${relation.version}`;
    const known = this.#fitting.get(key);
    if (known !== undefined) return known;
    const fits = satisfies(version, relation);
    this.#fitting.set(key, fits);
    return fits;
  }

  #isMet(relation: Relation): boolean {
    const { name, op } = relation;
    if (this.#installed.has(name)) return true;
    const own = this.#taken.get(name);
    if (own && this.#fits(own.candidate.version, relation)) return true;
    return (
      this.#provided
        .get(name)
        ?.some(
          ({ version }) => op === undefined || (version !== undefined && this.#fits(version, relation)),
        ) ?? false
    );
  }

  /** @returns whether one of those that meet the group is what `works` asks for: tried in apt's order, and no more looked up than that takes */
  #solve(group: Alternatives, works: (solution: Candidate) => boolean): boolean {
    return group.some((relation) => {
      const own = this.#universe.candidate(relation.name);
      if (own && this.#fits(own.version, relation) && !this.#discarded.has(own.name) && works(own))
        return true;
      return this.#providersOf(relation).some((each) => !this.#discarded.has(each.name) && works(each));
    });
  }

  #providersOf(relation: Relation): Candidate[] {
    const { name, op } = relation;
    return this.#universe
      .providers(name)
      .filter(({ provides }) =>
        provides.some(
          (given) =>
            given.name === name &&
            (op === undefined || (given.version !== undefined && this.#fits(given.version, relation))),
        ),
      )
      .sort(
        (a, b) =>
          Number(this.#protected.has(b.name)) - Number(this.#protected.has(a.name)) ||
          Number(b.essential) - Number(a.essential) ||
          a.priority - b.priority ||
          b.id - a.id,
      );
  }

  /** The first group that nothing in the lists can meet. */
  #hopeless(candidate: Candidate): Alternatives | undefined {
    return candidate.depends.find(
      (group) => !group.some((relation) => this.#isMet(relation) || this.#isSatisfiable(relation)),
    );
  }

  #isSatisfiable(relation: Relation): boolean {
    const key = `${relation.name} ${relation.op ?? ""} ${relation.version ?? ""}`;
    const known = this.#satisfiable.get(key);
    if (known !== undefined && this.#discarded.size === 0) return known;
    const found = this.#solve([relation], () => true);
    if (this.#discarded.size === 0) this.#satisfiable.set(key, found);
    return found;
  }

  /** Those taken that it conflicts with: by its own word. */
  #inTheWay(candidate: Candidate): { name: string; by: string }[] {
    const found: { name: string; by: string }[] = [];
    for (const relation of candidate.conflicts) {
      const own = this.#taken.get(relation.name);
      if (own && relation.name !== candidate.name && this.#fits(own.candidate.version, relation))
        found.push({ name: relation.name, by: shown([relation]) });
      for (const { by, version } of this.#provided.get(relation.name) ?? [])
        if (
          by !== candidate.name &&
          (relation.op === undefined || (version && this.#fits(version, relation)))
        )
          found.push({ name: by, by: shown([relation]) });
    }
    return found;
  }

  /** Of two that are in each other's way one tells. */
  #between(name: string, other: string, by: string): void {
    const isTold = this.#conflicts.some(
      (each) =>
        (each.package === name && each.with === other) || (each.package === other && each.with === name),
    );
    if (isTold) return;
    const reason = `conflicts with ${other} (${by}); choose one of them`;
    this.#conflicts.push({ package: name, with: other, reason });
  }

  /** What stands at the end: conflicts of those that came before the other. */
  #check(): void {
    for (const { candidate } of this.#taken.values()) {
      for (const { name, by } of this.#inTheWay(candidate)) {
        this.#between(candidate.name, name, by);
      }
      const unmet = candidate.depends.find((group) => !group.some((relation) => this.#isMet(relation)));
      if (unmet && !this.#conflicts.some((each) => each.package === candidate.name))
        this.#conflicts.push({
          package: candidate.name,
          reason: `needs ${shown(unmet)}, which cannot be installed with the others`,
        });
    }
  }
}

function told(candidate: Candidate, because: string | undefined): Taken {
  const { name, version, section, essential, description, downloadBytes, installedBytes } = candidate;
  return {
    ...{ name, version, section, essential, description, downloadBytes, installedBytes },
    ...(because === undefined ? {} : { because }),
  };
}

const shown = (group: Alternatives) =>
  group.map(({ name, op, version }) => (op ? `${name} (${op} ${version})` : name)).join(" or ");
