/**
 * Of ImageBuilds:
 *
 *   GET …/imagebuilds/NAME/log   what was done, and how long it took. ?tailLines=N, ?follow=true: until the build is over
 *   …/imagebuilds/NAME/upload    archives/upload.ts
 *   GET …/imagebuilds/NAME/file  a file that it made, as of Images
 *
 * Of Images:
 *
 *   …/images/NAME/upload         import/upload.ts
 *   GET …/images/NAME/file       a file of it. ?format=ova: one of status.artifacts; without, its disk
 *   GET …/images/NAME/key        the public key that its signature is checked with, PEM: the installation's
 */
import { createReadStream } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { flag, send } from "../api/exchange.ts";
import { type Call, integer } from "../api/resource-reads.ts";
import { type Subresource, whileAllowed } from "../api/subresource.ts";
import type { Client } from "../client/client.ts";
import { ApiError } from "../resource/errors.ts";
import { archiveUpload } from "./archives/upload.ts";
import { logFile } from "./build-log.ts";
import { imagesFolder, isOver } from "./build-reconciler.ts";
import { uploadSubresource } from "./import/upload.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { ARTIFACTS, FORMATS } from "./recipe.ts";
import type { Signer } from "./trust/signature.ts";

export interface SubresourceOptions {
  client: Client;
  signer: Signer;
}

const POLL_MS = 200;
const CHUNK_BYTES = 65_536;
const contentType = "text/plain; charset=utf-8";

/** For ApiServerOptions.subresources. */
export function imageSubresources(options: SubresourceOptions): Subresource[] {
  return [
    {
      of: Image,
      name: "file",
      methods: { GET: "get" },
      handle: (call) => fileOf(call, options, Image),
    },
    {
      of: Image,
      name: "key",
      methods: { GET: "get" },
      handle: async ({ exchange, name }) => {
        await imageOf(options.client, Image, name);
        send(exchange, 200, Buffer.from(options.signer.publicKey), { contentType });
      },
    },
    uploadSubresource(options.client),
    {
      of: ImageBuild,
      name: "log",
      methods: { GET: "get" },
      handle: (call) => buildLog(call, options),
    },
    {
      of: ImageBuild,
      name: "file",
      methods: { GET: "get" },
      handle: (call) => fileOf(call, options, ImageBuild),
    },
    archiveUpload(options.client),
  ];
}

/** @throws ApiError NotFound */
async function imageOf(
  client: Client,
  kind: typeof Image | typeof ImageBuild,
  name: string,
): Promise<Image | ImageBuild> {
  const found = kind === Image ? await client.get(Image, { name }) : await client.get(ImageBuild, { name });
  if (!found) throw new ApiError("NotFound", `${kind.plural}.vireo.dev "${name}" not found`, { name });
  return found;
}

async function fileOf(
  { exchange, name }: Call,
  { client }: SubresourceOptions,
  kind: typeof Image | typeof ImageBuild,
): Promise<void> {
  const image = await imageOf(client, kind, name);
  const { artifacts = [], file: disk, phase } = image.status ?? {};
  const format = exchange.query.get("format");
  const file = format === null ? disk : artifacts.find((each) => each.format === format)?.file;
  if ((phase !== "Ready" && phase !== "Succeeded") || !file)
    throw new ApiError("NotFound", whyNoFile(image, format ?? undefined), { name });
  const path = join(await imagesFolder(client, image.spec.storagePool), file);
  const size = await stat(path).then(
    (found) => found.size,
    () => {
      throw new ApiError("NotFound", `the file ${file} of image ${name} is not in the pool any more`, {
        name,
      });
    },
  );
  const { response } = exchange;
  exchange.onAnswer?.(200);
  response.writeHead(200, {
    "content-type": "application/octet-stream",
    "content-length": size,
    "content-disposition": `attachment; filename="${file}"`,
    "cache-control": "no-store",
  });
  exchange.leave?.();
  await pipeline(createReadStream(path), response).catch(() => response.destroy());
}

/** In words, with what would help. @param format undefined: its disk */
function whyNoFile({ metadata, spec, status }: Image | ImageBuild, format: string | undefined): string {
  const { name } = metadata;
  const { artifacts = [], phase = "Pending" } = status ?? {};
  if (format === undefined || (phase !== "Ready" && phase !== "Succeeded"))
    return `image ${name} is not ready: ${phase}`;
  const has = artifacts.length > 0 ? `; it has ${artifacts.map((each) => each.format).join(", ")}` : "";
  const told = `image ${name} has no ${format}${has}`;
  if (!ARTIFACTS.some((each) => each === format)) return `${told}. Formats are ${ARTIFACTS.join(", ")}`;
  if (!spec.recipe) return `${told}. Only images of a recipe have more than their disk`;
  return FORMATS.some((each) => each === format)
    ? `${told}. Name it in spec.recipe.formats and build again`
    : `${told}: it was built by an older Vireo. Build it again`;
}

async function buildLog(call: Call, { client }: SubresourceOptions): Promise<void> {
  const { exchange, name } = call;
  const lines = integer(exchange, "tailLines");
  const get = async () => {
    const build = await client.get(ImageBuild, { name });
    if (!build) throw new ApiError("NotFound", `imagebuilds.vireo.dev "${name}" not found`, { name });
    return build;
  };
  const build = await get();
  // Of a pool that is not there neither is a log.
  const images = await imagesFolder(client, build.spec.storagePool).catch(() => undefined);
  const file = images === undefined ? "" : logFile(images, build);
  const text = await readFile(file, "utf8").catch(() => "");
  const tail =
    lines === undefined
      ? text
      : text
          .split("\n")
          .slice(-lines - 1)
          .join("\n");
  if (!flag(exchange.query.get("follow")) || isOver(build)) {
    if (text === "" && build.status?.startedTime)
      throw new ApiError(
        "NotFound",
        `the log of imagebuild ${name} is not in the storage pool ${build.spec.storagePool}: it was removed there, or the pool is not one that the control planes share`,
        { name },
      );
    return send(exchange, 200, Buffer.from(tail), { contentType });
  }
  const { response } = exchange;
  const leave = whileAllowed(call, () => response.end());
  exchange.onAnswer?.(200);
  response.writeHead(200, { "content-type": contentType, "cache-control": "no-store" });
  response.flushHeaders();
  exchange.leave?.();
  response.write(tail);
  try {
    let at = Buffer.byteLength(text);
    while (!exchange.over.aborted && !response.destroyed) {
      // Asked before the file is read: what was said last is there when it is over.
      const over = await get().then(isOver, () => true);
      at = await copyFrom(file, at, (bytes) => void response.write(bytes));
      if (over) break;
      await wait(POLL_MS);
    }
  } finally {
    leave();
    response.end();
  }
}

/** @returns how far the file has been read */
async function copyFrom(file: string, from: number, write: (bytes: Buffer) => void): Promise<number> {
  const handle = await open(file, "r").catch(() => undefined);
  if (!handle) return from;
  try {
    // A build that begins again begins its log anew.
    let at = (await handle.stat()).size < from ? 0 : from;
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, at);
      if (bytesRead === 0) return at;
      write(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
}
