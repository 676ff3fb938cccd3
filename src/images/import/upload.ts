/**
 * The file of an image that is brought along, sent in parts:
 *
 *   GET  …/images/NAME/upload            { receivedBytes, totalBytes }
 *   POST …/images/NAME/upload?offset=N   the next part (application/octet-stream, at most 3 MiB), behind the N bytes that are there
 *
 * A part that is sent again, or out of turn, is refused with Conflict: GET tells where to go on. So an upload that was broken off goes on at any time.
 */
import { readBody } from "../../api/body.ts";
import { sendValue } from "../../api/exchange.ts";
import { type Call, integer } from "../../api/resource-reads.ts";
import type { Subresource } from "../../api/subresource.ts";
import type { Client } from "../../client/client.ts";
import { ApiError } from "../../resource/errors.ts";
import { API_VERSION } from "../../resource/kind.ts";
import { imagesFolder } from "../build-reconciler.ts";
import { Image } from "../kinds.ts";
import { receive, receivedBytes } from "./received.ts";
import { roomIn } from "./room.ts";

export function uploadSubresource(client: Client): Subresource {
  const busy = new Set<string>();
  return {
    name: "upload",
    methods: { GET: "get", POST: "create" },
    answers: "Image",
    handle: (call) => upload(call, client, busy),
  };
}

async function upload({ exchange, name }: Call, client: Client, busy: Set<string>): Promise<void> {
  const image = await client.get(Image, { name });
  if (!image) throw new ApiError("NotFound", `images.vireo.dev "${name}" not found`, { name });
  const { import: brought, storagePool } = image.spec;
  if (!brought || brought.url !== undefined)
    throw new ApiError(
      "BadRequest",
      `image ${name} waits for no upload: spec.import without url, with bytes and sha256, makes one that does`,
      { name },
    );
  const totalBytes = brought.bytes ?? 0;
  const folder = await imagesFolder(client, storagePool);
  const answer = async () =>
    sendValue(exchange, 200, {
      apiVersion: API_VERSION,
      kind: "ImageUpload",
      receivedBytes: image.status?.phase === "Ready" ? totalBytes : await receivedBytes(folder, image),
      totalBytes,
    });
  if (exchange.request.method === "GET") return answer();
  const conflict = (what: string) => new ApiError("Conflict", `image ${name} ${what}`, { name });
  if (image.status?.phase === "Ready") throw conflict("is ready: its file has come");
  if (image.status?.phase === "Failed") throw conflict("has failed; delete it, and import it anew");
  const offset = integer(exchange, "offset");
  if (offset === undefined)
    throw new ApiError("BadRequest", "the parameter offset is missing: how many bytes were sent before");
  const part = await readBody(exchange.request);
  const id = image.metadata.uid ?? "";
  if (busy.has(id)) throw conflict("is being sent a part already");
  busy.add(id);
  try {
    const here = await receivedBytes(folder, image);
    if (here !== offset) throw conflict(`has ${here} bytes: go on there, not at ${offset}`);
    if (offset + part.length > totalBytes)
      throw new ApiError("BadRequest", `image ${name}: spec.import.bytes says ${totalBytes}, more has come`, {
        name,
      });
    const room = await roomIn(folder);
    if (totalBytes - here > room)
      throw conflict(
        `waits for ${totalBytes - here} bytes, and its storage pool has room for ${Math.floor(room)}: make room there, then go on`,
      );
    // Images that were deleted meanwhile take nothing more.
    if ((await client.get(Image, { name }))?.metadata.uid !== id) throw conflict("was deleted");
    await receive(folder, image, offset, part);
  } finally {
    busy.delete(id);
  }
  await answer();
}
