/**
 * Files of images that are sent from this browser, in parts (src/images/import/upload.ts on the server). They go on while the user looks at other pages,
 * and, when the page was closed, from where they were once the same file is chosen again.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { useSyncExternalStore } from "react";
import { isApiError, request } from "../data/api.ts";
import { objectPath } from "../data/kinds.ts";

const PART_BYTES = 3 * 2 ** 20;
const READ_BYTES = 4 * 2 ** 20;
/** Parts that are refused or lost, one after another. */
const MOST_FAILURES = 8;

export interface Upload {
  sent: number;
  total: number;
  error?: unknown;
}

const uploads = new Map<string, Upload>();
const listeners = new Set<() => void>();
function tell(name: string, upload: Upload | undefined): void {
  if (upload) uploads.set(name, upload);
  else uploads.delete(name);
  for (const listener of listeners) listener();
}
const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** What is being sent for an image, from here. */
export const useUpload = (name: string): Upload | undefined =>
  useSyncExternalStore(subscribe, () => uploads.get(name));

/** SHA-256 in hexadecimal, read bit by bit: files are larger than memory. @param onRead how many bytes of it were read */
export async function digestOf(file: Blob, onRead: (bytes: number) => void): Promise<string> {
  const hash = sha256.create();
  for (let at = 0; at < file.size; at += READ_BYTES) {
    hash.update(new Uint8Array(await file.slice(at, at + READ_BYTES).arrayBuffer()));
    onRead(Math.min(file.size, at + READ_BYTES));
  }
  return bytesToHex(hash.digest());
}

/** Sends what is not there yet. Told by useUpload, errors as well. */
export async function sendFile(name: string, file: Blob): Promise<void> {
  const path = `${objectPath("images", { name })}/upload`;
  let failures = 0;
  const there = async () => (await request<{ receivedBytes: number }>("GET", path)).receivedBytes;
  try {
    let at = await there();
    while (at < file.size) {
      tell(name, { sent: at, total: file.size });
      const part = file.slice(at, at + PART_BYTES);
      try {
        await request("POST", `${path}?offset=${at}`, {
          body: part,
          contentType: "application/octet-stream",
        });
        at += part.size;
        failures = 0;
      } catch (error) {
        const isPassing = isApiError(error, "Conflict") || isApiError(error, "ServiceUnavailable");
        if (!isPassing || ++failures >= MOST_FAILURES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** failures));
        // It may have come, though its answer did not.
        at = await there();
      }
    }
    tell(name, undefined);
  } catch (error) {
    tell(name, { sent: uploads.get(name)?.sent ?? 0, total: file.size, error });
  }
}
