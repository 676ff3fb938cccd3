/**
 * What can be asked of the packages of a release at every click: which there are, and what comes along with some. The lists are those that builds use; of each
 * day's a file is made once (index-file.ts), which a thread of its own reads. The thread ends when nobody has asked for a while.
 */
import { existsSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Mode } from "../releases/release.ts";
import { Apt } from "./apt.ts";
import type { Closure } from "./closure.ts";
import { type Found, INDEX_FORMAT, type SearchOptions } from "./index-file.ts";
import type { Answer, Question, Work } from "./index-worker.ts";
import { PackageError } from "./package-error.ts";
import { PLUMBING } from "./plumbing.ts";

const IDLE_MS = 600_000;
/** How often it is looked whether there are newer lists. */
const LOOK_MS = 60_000;

export interface About {
  packages: number;
  /** As the lists name them: "net", "contrib/net". */
  sections: { name: string; packages: number }[];
}

/** The file of the index cannot be read. */
class DamagedError extends PackageError {}

export class PackageIndex {
  readonly #cache: string;
  readonly #release: string;
  readonly #path: string;
  readonly #warn: (text: string) => void;
  #thread: Thread | undefined;
  #renewal: Promise<void> | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #idle: NodeJS.Timeout | undefined;

  /** @param cache as Packages has it. @param warn is told when older lists have to do */
  constructor(cache: string, release: string, { warn = () => {} }: { warn?: (text: string) => void } = {}) {
    this.#cache = cache;
    this.#warn = warn;
    this.#release = release;
    this.#path = join(cache, `apt-${release}`, `picker-v${INDEX_FORMAT}.sqlite`);
  }

  /** @throws PackageError when there are no lists, and none can be fetched */
  search(text: string, options: SearchOptions): Promise<Found> {
    return this.#ask({ method: "search", text, options }) as Promise<Found>;
  }

  /** What would be installed; slim as in packages.ts, without what only maintainer scripts need. @throws PackageError as above */
  closure(chosen: readonly string[], mode: Mode): Promise<Closure> {
    const slim = mode === "slim";
    const question = { chosen, installed: slim ? PLUMBING : [], essential: !slim };
    return this.#ask({ method: "closure", ...question }) as Promise<Closure>;
  }

  /** Names near a wrong one. @throws PackageError as above */
  nearest(name: string): Promise<string[]> {
    return this.#ask({ method: "nearest", name }) as Promise<string[]>;
  }

  /** @throws PackageError as above */
  about(): Promise<About> {
    return this.#ask({ method: "about" }) as Promise<About>;
  }

  close(): void {
    clearTimeout(this.#idle);
    this.#thread?.end();
    this.#thread = undefined;
  }

  /** Safe: each question has its kind of answer (index-worker.ts). */
  async #ask(question: Question): Promise<unknown> {
    if (performance.now() - this.#lookedMs > LOOK_MS || !this.#thread) await this.#look();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.close(), IDLE_MS).unref();
    // One that has ended by itself answers nothing more.
    if (this.#thread?.failed) this.#thread = undefined;
    this.#thread ??= new Thread({ open: this.#path });
    const thread = this.#thread;
    return thread.ask(question).catch(async (error: unknown) => {
      if (!(error instanceof DamagedError)) throw error;
      await this.#makeAnew(thread);
      this.#thread ??= new Thread({ open: this.#path });
      return this.#thread.ask(question);
    });
  }

  /** Nobody waits for newer lists while there are older ones. */
  async #look(): Promise<void> {
    this.#renewal ??= this.#renew().finally(() => {
      this.#renewal = undefined;
    });
    if (!existsSync(this.#path)) await this.#renewal;
    else this.#renewal.catch((error: unknown) => this.#warn(wordsOf(error)));
    this.#lookedMs = performance.now();
  }

  /** Of all whose question has found the file damaged the first removes it. */
  async #makeAnew(reader: Thread): Promise<void> {
    if (this.#thread === reader) {
      reader.end();
      this.#thread = undefined;
      rmSync(this.#path, { force: true });
    }
    await this.#look();
    // A renewal that was under way may still have seen it.
    if (!existsSync(this.#path)) await this.#look();
  }

  async #renew(): Promise<void> {
    const apt = new Apt(this.#cache, this.#release, undefined, { warn: this.#warn });
    const { files, fetchedMs } = await apt.lists();
    if (existsSync(this.#path) && statSync(this.#path).mtimeMs === Math.floor(fetchedMs)) return;
    const maker = new Thread({ make: this.#path, lists: files });
    await maker.first().catch((cause: unknown) => {
      throw new PackageError(`the package lists of ${this.#release} cannot be read: ${wordsOf(cause)}`, {
        cause,
      });
    });
    // As old as its lists.
    const seconds = Math.floor(fetchedMs) / 1000;
    utimesSync(this.#path, seconds, seconds);
    this.#thread?.end();
    this.#thread = undefined;
  }
}

const wordsOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Answers come in the order of the questions. */
class Thread {
  readonly #worker: Worker;
  readonly #waiting: { resolve: (result: unknown) => void; reject: (error: Error) => void }[] = [];
  #failed: Error | undefined;
  #ending = false;

  constructor(work: Work) {
    this.#worker = new Worker(new URL("./index-worker.ts", import.meta.url), { workerData: work });
    this.#worker.unref();
    this.#worker.on("message", (answer: Answer) => {
      const next = this.#waiting.shift();
      if ("error" in answer)
        next?.reject(answer.damaged ? new DamagedError(answer.error) : new Error(answer.error));
      else next?.resolve(answer.result);
      if (this.#ending) this.end();
    });
    this.#worker.on("error", (error) =>
      this.#fail(error instanceof Error ? error : new Error(String(error))),
    );
    this.#worker.on("exit", () => this.#fail(new Error("the thread that reads the package lists has ended")));
  }

  get failed(): boolean {
    return this.#failed !== undefined;
  }

  /** What a thread says that is asked nothing. */
  first(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#failed) reject(this.#failed);
      else this.#waiting.push({ resolve, reject });
    });
  }

  ask(question: Question): Promise<unknown> {
    const answer = this.first();
    if (!this.#failed) this.#worker.postMessage(question);
    return answer;
  }

  /** After its last answer. */
  end(): void {
    this.#ending = true;
    if (this.#waiting.length === 0) void this.#worker.terminate();
  }

  #fail(error: Error): void {
    this.#failed = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
