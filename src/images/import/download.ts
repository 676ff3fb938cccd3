/** Fetches a file from a URL, and goes on where an earlier attempt ended. */
import { mkdir, open } from "node:fs/promises";
import { type IncomingMessage, STATUS_CODES } from "node:http";
import { dirname } from "node:path";
import { ContentError } from "./content.ts";
import { ask } from "./origin.ts";
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
  /** Whether an address may be asked (origin.ts). */
  mayAsk: (address: string) => boolean;
}

/** @returns its size. @throws ContentError for one that is too large, Error when it cannot be had: what has come stays */
export async function download(options: DownloadOptions): Promise<number> {
  const { url, to, from, maxBytes, signal, progress, mayAsk } = options;
  const shown = shownUrl(url);
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENT_MS);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silent.abort(), SILENT_MS);
  };
  const why = (error: unknown): Error => {
    if (error instanceof ContentError) return error;
    if (silent.signal.aborted)
      return new Error(`spec.import.url: ${shown} has sent nothing for ${SILENT_MS / 1000} s`, {
        cause: error,
      });
    const said = error instanceof Error ? error.message || error.name : String(error);
    return new Error(`spec.import.url: ${shown} cannot be fetched: ${said}`, { cause: error });
  };
  let answer: IncomingMessage | undefined;
  try {
    answer = await ask({
      url,
      mayAsk,
      signal: AbortSignal.any([signal, silent.signal]),
      // What is compressed on the way would be counted and continued wrongly.
      headers: { "accept-encoding": "identity", ...(from > 0 ? { range: `bytes=${from}-` } : {}) },
    });
    const { statusCode = 0, headers } = answer;
    // All of it is there.
    if (statusCode === 416) return from;
    if (statusCode < 200 || statusCode > 299)
      throw new Error(`it answers ${statusCode} ${STATUS_CODES[statusCode] ?? ""}`.trim());
    const begin = statusCode === 206 ? from : 0;
    const length = Number(headers["content-length"] ?? Number.NaN);
    const total = Number.isNaN(length) ? undefined : begin + length;
    if ((total ?? 0) > maxBytes) throw tooLarge("is larger", maxBytes);
    const file = await open(to, begin > 0 ? "r+" : "w", 0o600);
    try {
      let at = begin;
      for await (const part of answer) {
        const chunk = part as Buffer; // of a stream without an encoding
        alive();
        if (at + chunk.length > maxBytes) throw tooLarge("is larger", maxBytes);
        await writeAll(file, chunk, at);
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
    signal.throwIfAborted();
    throw why(error);
  } finally {
    answer?.destroy();
    clearTimeout(timer);
  }
}

/** Without what may be a secret: signatures of clouds are in the query. */
function shownUrl(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
