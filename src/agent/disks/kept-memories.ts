/**
 * The memories that are kept with a machine's disks (layers.ts), and which of them the next run goes on with: that of a snapshot it was rolled back to, of the
 * template that it is a clone of, or its own, as it was suspended. layers.json says so until the guest is about to run: from then on the disks are not those of
 * that memory.
 */
import { stat } from "node:fs/promises";
import { exists } from "../../system/exists.ts";
import type { LayerFolder } from "./layer-folder.ts";
import type { KeptMemory, SuspendedRun } from "./layer-records.ts";

/** A memory that the next run goes on with; `cloned`: another machine's. */
export interface Saved {
  file: string;
  of: KeptMemory;
  /** Kept with a snapshot, or by suspending. */
  kind: "snapshot" | "suspended";
  cloned?: boolean;
}

export class KeptMemories {
  readonly #at: LayerFolder;

  constructor(at: LayerFolder) {
    this.#at = at;
  }

  /** Where the memory of a snapshot is kept. */
  file(uid: string): string {
    return this.#at.path(`snapshots/${uid}.memory`);
  }

  /** Bytes that the memory of a snapshot takes; undefined when none was kept whole. */
  async bytes(uid: string): Promise<number | undefined> {
    if (!(await exists(this.file(uid)))) return undefined;
    const files = await Promise.all((await this.#filesOf(uid)).map((file) => stat(file)));
    return files.reduce((sum, { blocks }) => sum + blocks * 512, 0);
  }

  /** Whether there is anything of the memory of a snapshot. */
  async isThere(uid: string): Promise<boolean> {
    return (await this.#filesOf(uid)).length > 0;
  }

  /** A run that was to go on with it boots instead: next() finds no file. No-op when there is none. */
  async drop(uid: string): Promise<void> {
    // The one that tells that it is whole goes first.
    for (const file of (await this.#filesOf(uid)).sort()) await this.#at.tool.remove(file);
  }

  /** The memory that the next run goes on with. */
  async next(): Promise<Saved | undefined> {
    const { resume, template, suspended } = await this.#at.pointer();
    if (template)
      return (await exists(template.file)) ? { ...template, kind: "snapshot", cloned: true } : undefined;
    const file = this.suspendedFile();
    // Said to be there, it has to be: a machine that was suspended does not boot instead by itself.
    if (suspended) return { file, of: suspended.memory, kind: "suspended" };
    const of = resume && (await this.#at.read(resume))?.taken?.memory;
    return of && (await exists(this.file(resume)))
      ? { file: this.file(resume), of, kind: "snapshot" }
      : undefined;
  }

  /** The memory has been loaded, and its guest is about to run; or nobody is to go on with it any more. */
  async resumed(): Promise<void> {
    const { active, resume, template, suspended } = await this.#at.pointer();
    if (resume !== undefined || template || suspended) await this.#at.setPointer({ active });
    await this.#at.tool.remove(this.suspendedFile());
  }

  suspendedFile(): string {
    return this.#at.path("suspended.memory");
  }

  /** The run's memory is in suspendedFile, and it never goes on by itself: from now on the next one does with it. */
  async suspended(suspended: SuspendedRun): Promise<void> {
    await this.#at.setPointer({ ...(await this.#at.pointer()), suspended });
  }

  /** The run whose memory the next one goes on with. */
  async suspendedRun(): Promise<SuspendedRun | undefined> {
    return (await this.#at.pointer()).suspended;
  }

  /** A new machine's first run goes on with this memory of another one. Before its disks are made. */
  async resumeAs(template: { file: string; of: KeptMemory }): Promise<void> {
    await this.#at.setPointer({ active: {}, template });
  }

  /** Of a snapshot's memory, whatever there is of it (memory-files.ts). Paths. */
  async #filesOf(uid: string): Promise<string[]> {
    return (await this.#at.snapshotFiles())
      .filter((file) => file === `${uid}.memory` || file.startsWith(`${uid}.memory.`))
      .map((file) => this.#at.path(`snapshots/${file}`));
  }
}
