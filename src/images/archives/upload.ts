/**
 * The archives of a build's recipe, sent in parts, as files of images are (import/upload.ts):
 *
 *   GET  …/imagebuilds/NAME/upload?sha256=DIGEST            { receivedBytes, totalBytes }
 *   POST …/imagebuilds/NAME/upload?sha256=DIGEST&offset=N   the next part (application/octet-stream, at most 3 MiB), behind the N bytes that are there
 *
 * The build waits for them, and looks at what has come before it begins: what is another file than its sha256 says ends it.
 */
import { readBody } from "../../api/body.ts";
import { sendValue } from "../../api/exchange.ts";
import { type Call, integer } from "../../api/resource-reads.ts";
import type { Subresource } from "../../api/subresource.ts";
import type { Client } from "../../client/client.ts";
import { ApiError } from "../../resource/errors.ts";
import { API_VERSION } from "../../resource/kind.ts";
import { imagesFolder, isOver } from "../build-reconciler.ts";
import { roomIn } from "../import/room.ts";
import { ImageBuild } from "../kinds.ts";
import { archivesFolder, makeFolder, receivedOf, receivePart } from "./store.ts";

export function archiveUpload(client: Client): Subresource {
  const busy = new Set<string>();
  return {
    name: "upload",
    methods: { GET: "get", POST: "create" },
    answers: "ImageBuild",
    handle: (call) => upload(call, client, busy),
  };
}

async function upload({ exchange, name = "" }: Call, client: Client, busy: Set<string>): Promise<void> {
  const build = await client.get(ImageBuild, { name });
  if (!build) throw new ApiError("NotFound", `imagebuilds.vireo.dev "${name}" not found`, { name });
  const sha256 = exchange.query.get("sha256");
  const archive = build.spec.recipe.archives?.find((each) => each.sha256 === sha256);
  if (!archive)
    throw new ApiError(
      "BadRequest",
      `imagebuild ${name}: the parameter sha256 names none of its recipe's archives`,
      {
        name,
      },
    );
  const { bytes: totalBytes } = archive;
  const folder = archivesFolder(await imagesFolder(client, build.spec.storagePool));
  const answer = async () =>
    sendValue(exchange, 200, {
      apiVersion: API_VERSION,
      kind: "ImageUpload",
      receivedBytes: await receivedOf(folder, archive, build),
      totalBytes,
    });
  if (exchange.request.method === "GET") return answer();
  const conflict = (what: string) => new ApiError("Conflict", `imagebuild ${name} ${what}`, { name });
  if (isOver(build)) throw conflict("is over; make another build");
  const offset = integer(exchange, "offset");
  if (offset === undefined)
    throw new ApiError("BadRequest", "the parameter offset is missing: how many bytes were sent before");
  const part = await readBody(exchange.request);
  const key = `${build.metadata.uid} ${sha256}`;
  if (busy.has(key)) throw conflict(`is being sent a part of ${archive.file} already`);
  busy.add(key);
  try {
    const here = await receivedOf(folder, archive, build);
    // All is there already, and perhaps just gets its name.
    if (here === totalBytes && here === offset && part.length === 0) return await answer();
    if (here !== offset)
      throw conflict(`has ${here} bytes of ${archive.file}: go on there, not at ${offset}`);
    if (offset + part.length > totalBytes)
      throw new ApiError(
        "BadRequest",
        `imagebuild ${name}: recipe.archives says ${totalBytes} bytes, more has come`,
        {
          name,
        },
      );
    await makeFolder(folder);
    const room = await roomIn(folder);
    if (totalBytes - here > room)
      throw conflict(
        `waits for ${totalBytes - here} bytes, and its storage pool has room for ${Math.floor(room)}: make room there, then go on`,
      );
    await receivePart(folder, archive, build, offset, part);
  } finally {
    busy.delete(key);
  }
  await answer();
}
