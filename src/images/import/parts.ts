/**
 * A file that comes through the API in parts: of an image (import/upload.ts), an archive of a build's recipe (archives/upload.ts).
 *
 *   GET             { receivedBytes, totalBytes }
 *   POST ?offset=N  the next part (application/octet-stream, at most 3 MiB), behind the N bytes that are there
 *
 * A part that is sent again, or out of turn, is refused with Conflict and details.retryAfterSeconds: GET tells where to go on. So what was broken off goes on
 * at any time. A Conflict without them is final: nothing more is taken, or there is no room.
 */
import { mkdir } from "node:fs/promises";
import { readBody } from "../../api/body.ts";
import { sendValue } from "../../api/exchange.ts";
import { type Call, integer } from "../../api/resource-reads.ts";
import { ApiError } from "../../resource/errors.ts";
import { API_VERSION } from "../../resource/kind.ts";
import { roomIn } from "../../system/room.ts";

/** How often whoever waits for parts looks whether more has come. */
export const LOOK_MS = 500;

export interface Coming {
  /** The object that waits for it, for users: `image web`. */
  owner: string;
  name: string;
  /** For users, when the owner may wait for several: ` of shop.tar`. */
  ofFile?: string;
  /** What one part at a time is written of. */
  key: string;
  totalBytes: number;
  /** The field that says so. */
  field: string;
  /** On whose file system there must be room; made when it is not there. */
  folder: string;
  received: () => Promise<number>;
  /** Why no part is taken any more, for users. */
  closed?: string | undefined;
  /** @throws ApiError when the owner takes nothing more, Error of the file system */
  write: (offset: number, part: Buffer) => Promise<void>;
}

/** @param busy keys of what a part is being written of @throws ApiError */
export async function takeParts({ exchange }: Call, busy: Set<string>, coming: Coming): Promise<void> {
  const { owner, name, ofFile = "", key, totalBytes, field, closed } = coming;
  const answer = async () =>
    sendValue(exchange, 200, {
      apiVersion: API_VERSION,
      kind: "ImageUpload",
      receivedBytes: await coming.received(),
      totalBytes,
    });
  if (exchange.request.method === "GET") return answer();
  const refused = (reason: "Conflict" | "BadRequest", what: string) =>
    new ApiError(reason, `${owner}${what}`, { name });
  const notNow = (what: string) =>
    new ApiError("Conflict", `${owner}${what}`, { name, retryAfterSeconds: 1 });
  if (closed) throw refused("Conflict", ` ${closed}`);
  const offset = integer(exchange, "offset");
  if (offset === undefined)
    throw new ApiError("BadRequest", "the parameter offset is missing: how many bytes were sent before");
  const part = await readBody(exchange.request);
  if (busy.has(key)) throw notNow(` is being sent a part${ofFile} already`);
  busy.add(key);
  try {
    const here = await coming.received();
    // All is there already, and perhaps just gets its name.
    if (here === totalBytes && here === offset && part.length === 0) return await answer();
    if (here !== offset) throw notNow(` has ${here} bytes${ofFile}: go on there, not at ${offset}`);
    if (offset + part.length > totalBytes)
      throw refused("BadRequest", `: ${field} says ${totalBytes} bytes, more has come`);
    await mkdir(coming.folder, { recursive: true, mode: 0o755 });
    const room = await roomIn(coming.folder);
    if (totalBytes - here > room)
      throw refused(
        "Conflict",
        ` waits for ${totalBytes - here} bytes, and its storage pool has room for ${Math.floor(room)}: make room there, then go on`,
      );
    await coming.write(offset, part);
  } finally {
    busy.delete(key);
  }
  await answer();
}
