/**
 * Files that are sent from this browser, in parts (src/images/import/parts.ts on the server): disks of images, archives of builds. They go on while the user
 * looks at other pages, and, when the page was closed, from where they were once the same file is chosen again.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { useSyncExternalStore } from "react";
import { isPassing, request } from "../data/api.ts";
import { objectPath } from "../data/kinds.ts";

const PART_BYTES = 3 * 2 ** 20;
const READ_BYTES = 4 * 2 ** 20;
/** Parts that are refused or lost, one after another. */
const MOST_FAILURES = 8;

export interface Upload {
  /** Absent until the server has said how much of it there is. */
  sent?: number;
  total: number;
  /** Why nothing goes on for the moment; it is tried again. */
  trouble?: unknown;
  /** Why it has ended. */
  error?: unknown;
}

/** Where files are sent to. */
export const imageUpload = (name: string): string => `${objectPath("images", { name })}/upload`;
export const archiveUpload = (build: string, sha256: string): string =>
  `${objectPath("imagebuilds", { name: build })}/upload?sha256=${sha256}`;

/** By where they are sent to. */
const uploads = new Map<string, Upload>();
const running = new Map<string, AbortController>();
const listeners = new Set<() => void>();
function tell(to: string, upload: Upload | undefined): void {
  if (upload) uploads.set(to, upload);
  else uploads.delete(to);
  for (const listener of listeners) listener();
}
const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** What is being sent there, from here. */
export const useUpload = (to: string): Upload | undefined =>
  useSyncExternalStore(subscribe, () => uploads.get(to));

/** SHA-256 in hexadecimal, read bit by bit: files are larger than memory. @param onRead how many bytes of it were read. @throws the signal's reason */
export async function digestOf(
  file: Blob,
  onRead: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<string> {
  const hash = sha256.create();
  for (let at = 0; at < file.size; at += READ_BYTES) {
    signal?.throwIfAborted();
    hash.update(new Uint8Array(await file.slice(at, at + READ_BYTES).arrayBuffer()));
    onRead(Math.min(file.size, at + READ_BYTES));
  }
  return bytesToHex(hash.digest());
}

/** How much of it is there. */
export const receivedBytes = async (to: string, signal?: AbortSignal): Promise<number> =>
  (await request<{ receivedBytes: number }>("GET", to, { signal })).receivedBytes;

/** Nobody waits for it any more. */
export function stopSending(to: string): void {
  running.get(to)?.abort();
  if (uploads.has(to)) tell(to, undefined);
}

/** Sends what is not there yet. Told by useUpload, errors as well. */
export async function sendFile(to: string, file: Blob): Promise<void> {
  stopSending(to);
  const stop = new AbortController();
  const { signal } = stop;
  running.set(to, stop);
  const total = file.size;
  const part = (at: number) => `${to}${to.includes("?") ? "&" : "?"}offset=${at}`;
  let at: number | undefined;
  let failures = 0;
  const sent = () => (at === undefined ? {} : { sent: at });
  tell(to, { total });
  try {
    at = await receivedBytes(to, signal);
    while (at < total) {
      tell(to, { sent: at, total });
      const body = file.slice(at, at + PART_BYTES);
      try {
        await request("POST", part(at), { body, contentType: "application/octet-stream", signal });
        at += body.size;
        failures = 0;
      } catch (error) {
        if (!isPassing(error) || ++failures >= MOST_FAILURES) throw error;
        tell(to, { sent: at, total, trouble: error });
        await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** failures));
        // It may have come, though its answer did not.
        at = await receivedBytes(to, signal);
      }
    }
    tell(to, undefined);
  } catch (error) {
    if (!signal.aborted) tell(to, { ...sent(), total, error });
  } finally {
    if (running.get(to) === stop) running.delete(to);
  }
}
