/** The file of an image that is brought along, sent in parts (parts.ts): GET and POST …/images/NAME/upload. */
import { found } from "../../api/not-found.ts";
import type { Call } from "../../api/resource-reads.ts";
import type { Subresource } from "../../api/subresource.ts";
import type { Client } from "../../client/client.ts";
import { ApiError } from "../../resource/errors.ts";
import { Image } from "../kinds.ts";
import { imagesFolder } from "../pool.ts";
import { takeParts } from "./parts.ts";
import { receive, receivedBytes } from "./received.ts";

export function uploadSubresource(client: Client): Subresource {
  const busy = new Set<string>();
  return {
    of: Image,
    name: "upload",
    methods: { GET: "get", POST: "create" },
    handle: (call) => upload(call, client, busy),
  };
}

async function upload(call: Call, client: Client, busy: Set<string>): Promise<void> {
  const { name } = call;
  const image = await found(client, Image, { name });
  const { import: brought, storagePool } = image.spec;
  if (!brought || brought.url !== undefined)
    throw new ApiError(
      "BadRequest",
      `image ${name} waits for no upload: spec.import without url, with bytes and sha256, makes one that does`,
      { name },
    );
  const { metadata, status } = image;
  const totalBytes = brought.bytes ?? 0;
  const folder = await imagesFolder(client, storagePool);
  await takeParts(call, busy, {
    owner: `image ${name}`,
    name,
    key: metadata.uid ?? "",
    totalBytes,
    field: "spec.import.bytes",
    folder,
    received: async () => (status?.phase === "Ready" ? totalBytes : receivedBytes(folder, image)),
    closed: closedBy(status?.phase),
    write: async (offset, part) => {
      // Images that were deleted meanwhile take nothing more.
      if ((await client.get(Image, { name }))?.metadata.uid !== metadata.uid)
        throw new ApiError("Conflict", `image ${name} was deleted`, { name });
      await receive(folder, image, offset, part);
    },
  });
}

function closedBy(phase: string | undefined): string | undefined {
  if (phase === "Ready") return "is ready: its file has come";
  if (phase === "Failed") return "has failed; delete it, and import it anew";
  return undefined;
}
