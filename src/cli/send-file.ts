/** A file sent to the control plane in parts; broken off, it goes on where it ended when it is sent to the same path again. */
import { open } from "node:fs/promises";
import type { HttpClient } from "../client/http.ts";
import { isApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { UserError } from "./user-error.ts";

/** Below what the server takes at once. */
const PART_BYTES = 2 * 2 ** 20;
/** What takes too long to come through goes on in smaller parts, down to this. */
const LEAST_BYTES = PART_BYTES / 16;

/** What is sent: a file, here or of an image at another control plane. */
export interface Source {
  totalBytes: number;
  /** @returns at most so many bytes, at least one. @throws Error */
  read(at: number, bytes: number): Promise<Buffer>;
}

/** @throws Error of the file system, or of `use` */
export async function withFile<T>(file: string, use: (source: Source) => Promise<T>): Promise<T> {
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    return await use({
      totalBytes: size,
      read: async (at, bytes) => {
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(bytes), 0, bytes, at);
        if (bytesRead === 0) throw new UserError(`${file}: became shorter while it was sent`);
        return buffer.subarray(0, bytesRead);
      },
    });
  } finally {
    await handle.close();
  }
}

/** A file at a control plane, which is asked for its parts. @throws ApiError when it is not there */
export async function remoteFile(client: HttpClient, path: string, signal: AbortSignal): Promise<Source> {
  const { totalBytes } = await client.part(path, 0, 1, signal);
  const read: Source["read"] = async (at, bytes) => (await client.part(path, at, bytes, signal)).bytes;
  return { totalBytes, read };
}

/**
 * @param path of the upload, whose GET tells how much is there; @param query of each request, offset aside
 * @param about what is told of, such as image/web
 * @throws UserError
 */
export async function sendFile(
  client: HttpClient,
  { path, query = "", source, about }: { path: string; query?: string; source: Source; about: string },
  signal: AbortSignal,
  print: (line: string) => void,
): Promise<void> {
  const received = async () => {
    const said = await client.request({ method: "GET", path: query ? `${path}?${query}` : path });
    return isFields(said) ? Number(said.receivedBytes) : 0;
  };
  try {
    let at = await received();
    let length = PART_BYTES;
    const { totalBytes: size } = source;
    let told = Math.floor((at / size) * 10);
    if (at > 0 && at < size) print(`${about}: goes on after ${at} of ${size} bytes`);
    const sendPart = async () => {
      const body = await source.read(at, length);
      const to = `${path}?${query ? `${query}&` : ""}offset=${at}`;
      await client.request({ method: "POST", path: to, body, contentType: "application/octet-stream" });
      return at + body.length;
    };
    while (at < size && !signal.aborted) {
      at = await sendPart().catch(async (error: unknown) => {
        if (signal.aborted || !isApiError(error, "Timeout", "ServiceUnavailable") || length <= LEAST_BYTES)
          throw error;
        length /= 4;
        // It may have come all the same.
        return received();
      });
      const tenth = Math.floor((at / size) * 10);
      if (tenth > told) print(`${about}: ${tenth * 10} % of ${size} bytes sent`);
      told = tenth;
    }
  } catch (error) {
    if (signal.aborted) return; // while a part was read
    if (isApiError(error)) throw new UserError(`${about}: ${error.message}`);
    throw error;
  }
}
