/** A file sent to the control plane in parts; broken off, it goes on where it ended when it is sent to the same path again. */
import { open } from "node:fs/promises";
import type { HttpClient } from "../client/http.ts";
import { isApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { UserError } from "./user-error.ts";

/** Below what the server takes at once. */
const PART_BYTES = 2 * 2 ** 20;

/**
 * @param path of the upload, whose GET tells how much is there; @param query of each request, offset aside
 * @param about what is told of, such as image/web
 * @throws UserError
 */
export async function sendFile(
  client: HttpClient,
  { path, query = "", file, about }: { path: string; query?: string; file: string; about: string },
  signal: AbortSignal,
  print: (line: string) => void,
): Promise<void> {
  const said = await client.request({ method: "GET", path: query ? `${path}?${query}` : path });
  let at = isFields(said) ? Number(said.receivedBytes) : 0;
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    let told = Math.floor((at / size) * 10);
    if (at > 0 && at < size) print(`${about}: goes on after ${at} of ${size} bytes`);
    const part = Buffer.alloc(PART_BYTES);
    while (at < size && !signal.aborted) {
      const { bytesRead } = await handle.read(part, 0, PART_BYTES, at);
      if (bytesRead === 0) throw new UserError(`${file}: became shorter while it was sent`);
      await client.request({
        method: "POST",
        path: `${path}?${query ? `${query}&` : ""}offset=${at}`,
        body: part.subarray(0, bytesRead),
        contentType: "application/octet-stream",
      });
      at += bytesRead;
      const tenth = Math.floor((at / size) * 10);
      if (tenth > told) print(`${about}: ${tenth * 10} % of ${size} bytes sent`);
      told = tenth;
    }
  } catch (error) {
    if (isApiError(error)) throw new UserError(`${about}: ${error.message}`);
    throw error;
  } finally {
    await handle.close();
  }
}
