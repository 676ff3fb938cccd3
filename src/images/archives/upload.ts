/**
 * The archives of a build's recipe, sent in parts (import/parts.ts): GET and POST …/imagebuilds/NAME/upload?sha256=DIGEST.
 *
 * The build waits for them, and looks at what has come before it begins: what is another file than its sha256 says ends it.
 */
import { found } from "../../api/not-found.ts";
import type { Call } from "../../api/resource-reads.ts";
import type { Subresource } from "../../api/subresource.ts";
import type { Client } from "../../client/client.ts";
import { ApiError } from "../../resource/errors.ts";
import { takeParts } from "../import/parts.ts";
import { ImageBuild } from "../kinds.ts";
import { imagesFolder } from "../pool.ts";
import { isBuildOver } from "../shared.ts";
import { archivesFolder, receivedOf, receivePart } from "./store.ts";

export function archiveUpload(client: Client): Subresource {
  const busy = new Set<string>();
  return {
    of: ImageBuild,
    name: "upload",
    methods: { GET: "get", POST: "create" },
    handle: (call) => upload(call, client, busy),
  };
}

async function upload(call: Call, client: Client, busy: Set<string>): Promise<void> {
  const { exchange, name } = call;
  const build = await found(client, ImageBuild, { name });
  const sha256 = exchange.query.get("sha256");
  const archive = build.spec.recipe.archives?.find((each) => each.sha256 === sha256);
  if (!archive)
    throw new ApiError(
      "BadRequest",
      `imagebuild ${name}: the parameter sha256 names none of its recipe's archives`,
      { name },
    );
  const images = await imagesFolder(client, build.spec.storagePool);
  const folder = archivesFolder(images);
  await takeParts(call, busy, {
    owner: `imagebuild ${name}`,
    name,
    ofFile: ` of ${archive.file}`,
    key: `${build.metadata.uid} ${sha256}`,
    totalBytes: archive.bytes,
    field: "recipe.archives",
    folder: images,
    received: () => receivedOf(folder, archive, build),
    closed: isBuildOver(build) ? "is over; make another build" : undefined,
    write: (offset, part) => receivePart(folder, archive, build, offset, part),
  });
}
