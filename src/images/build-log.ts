/**
 * Logs of builds: in the storage pool, beside its images, so that every control plane has them, and they outlive the one that built. Each is as long as it may be; of a longer one the middle
 * is left out. They go with their builds.
 */
import { createWriteStream, type WriteStream } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ImageBuild } from "./kinds.ts";

/** For so long the end of a log is waited for: its pool may not answer. */
const END_MS = 10_000;

/** Of a log's beginning, and of its end: in characters. */
const HEAD = 4 * 2 ** 20;
const TAIL = 2 ** 16;

/** @param images the pool's folder of images */
const logsFolder = (images: string) => join(dirname(images), "build-logs");

/** Of its uid: a build that is made again under the same name has a log of its own. */
export const logFile = (images: string, { metadata }: Pick<ImageBuild, "metadata">) =>
  join(logsFolder(images), `${metadata.name}-${(metadata.uid ?? "").slice(0, 8)}.log`);

export class BuildLog {
  readonly #stream: WriteStream;
  readonly #now: () => Date;
  readonly #head: number;
  readonly #tail: number;
  #written = 0;
  #last: string[] = [];
  #lastLength = 0;
  #leftOut = 0;
  #ended: Promise<void> | undefined;

  private constructor(stream: WriteStream, now: () => Date, head: number, tail: number) {
    this.#stream = stream;
    this.#now = now;
    this.#head = head;
    this.#tail = tail;
  }

  /** Begins the build's log anew. @param failed told when it cannot be written: the build goes on. @throws Error when there can be none */
  static async begin(
    images: string,
    build: ImageBuild,
    {
      now,
      failed,
      head = HEAD,
      tail = TAIL,
    }: { now: () => Date; failed: (error: Error) => void; head?: number; tail?: number },
  ): Promise<BuildLog> {
    // Of whoever may read builds, by the API; nobody else on the machines that have the pool.
    await mkdir(logsFolder(images), { recursive: true, mode: 0o700 });
    const stream = createWriteStream(logFile(images, build), { flags: "w", mode: 0o600 });
    stream.on("error", failed);
    return new BuildLog(stream, now, head, tail);
  }

  say(text: string): void {
    if (this.#ended) return;
    const line = `${this.#now().toISOString()} ${text}\n`;
    if (this.#written + line.length <= this.#head && this.#last.length === 0) {
      this.#written += line.length;
      this.#stream.write(line);
      return;
    }
    this.#last.push(line);
    this.#lastLength += line.length;
    while (this.#lastLength > this.#tail && this.#last.length > 1) {
      this.#lastLength -= this.#last.shift()?.length ?? 0;
      this.#leftOut += 1;
    }
  }

  /** All that was said is in the file then, when its pool answers; nothing more is said. */
  end(): Promise<void> {
    this.#ended ??= new Promise<void>((resolve) => {
      setTimeout(resolve, END_MS).unref();
      if (this.#leftOut > 0) this.#stream.write(`… ${this.#leftOut} lines are left out …\n`);
      this.#stream.end(this.#last.join(""), resolve);
      // One that cannot be written has ended, too.
      this.#stream.once("close", resolve);
    });
    return this.#ended;
  }
}

export const removeLog = (images: string, build: Pick<ImageBuild, "metadata">) =>
  rm(logFile(images, build), { force: true });

/**
 * Of builds that were deleted while no control plane ran.
 * @param list all builds that there are; asked after the folder was read, or one that begins in between would lose its log. Undefined: it is not known
 */
export async function removeLostLogs(
  images: string,
  list: () => Promise<readonly ImageBuild[] | undefined>,
): Promise<void> {
  const folder = logsFolder(images);
  const names = await readdir(folder).catch(() => []);
  const builds = names.length > 0 ? await list() : undefined;
  if (!builds) return;
  const known = new Set(builds.map((build) => basename(logFile(images, build))));
  for (const name of names) if (!known.has(name)) await rm(join(folder, name), { force: true });
}

/** Those that control planes had each for itself, before they were in the pools: nobody reads them any more. @param logs the control plane's folder of logs */
export const removeEarlierLogs = (logs: string) => rm(join(logs, "builds"), { recursive: true, force: true });
