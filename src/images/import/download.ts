/** Fetches a file from a URL, and goes on where an earlier attempt ended. */
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { ContentError } from "./content.ts";
import { writeAll } from "./received.ts";
import { tooLarge } from "./room.ts";

/** A server that sends nothing for so long is taken for gone. */
const SILENT_MS = 60_000;

export interface DownloadOptions {
  url: string;
  to: string;
  /** That are there already. */
  from: number;
  maxBytes: number;
  signal: AbortSignal;
  /** Called as it goes, and awaited. */
  progress: (received: number, total: number | undefined) => Promise<void>;
}

/** @returns its size. @throws ContentError for one that is too large, Error when it cannot be had: what has come stays */
export async function download(options: DownloadOptions): Promise<number> {
  const { url, to, from, maxBytes, signal, progress } = options;
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENT_MS);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silent.abort(), SILENT_MS);
  };
  const why = (error: unknown): Error => {
    if (signal.aborted || error instanceof ContentError) return error as Error; // both are
    if (silent.signal.aborted)
      return new Error(`spec.import.url: ${url} has sent nothing for ${SILENT_MS / 1000} s`, {
        cause: error,
      });
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return new Error(
      `spec.import.url: ${url} cannot be fetched: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause: error },
    );
  };
  try {
    const answer = await fetch(url, {
      signal: AbortSignal.any([signal, silent.signal]),
      // What is compressed on the way would be counted and continued wrongly.
      headers: { "accept-encoding": "identity", ...(from > 0 ? { range: `bytes=${from}-` } : {}) },
    });
    // All of it is there.
    if (answer.status === 416) return from;
    if (!answer.ok) throw new Error(`it answers ${answer.status} ${answer.statusText}`);
    const begin = answer.status === 206 ? from : 0;
    const length = Number(answer.headers.get("content-length") ?? Number.NaN);
    const total = Number.isNaN(length) ? undefined : begin + length;
    if ((total ?? 0) > maxBytes) throw tooLarge("is larger", maxBytes);
    const file = await open(to, begin > 0 ? "r+" : "w", 0o600);
    try {
      let at = begin;
      for await (const chunk of answer.body ?? []) {
        alive();
        if (at + chunk.length > maxBytes) throw tooLarge("is larger", maxBytes);
        await writeAll(file, Buffer.from(chunk), at);
        at += chunk.length;
        await progress(at, total);
      }
      if (total !== undefined && at !== total) throw new Error(`it ended after ${at} of ${total} bytes`);
      await file.truncate(at);
      return at;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw why(error);
  } finally {
    clearTimeout(timer);
  }
}
