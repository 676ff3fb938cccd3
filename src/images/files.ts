/**
 * Files of images and builds, given out:
 *
 *   GET …/file                  its disk
 *   GET …/file?format=ova       one of status.artifacts
 *   GET …/file?archive=SHA256   an archive that the image's recipe names
 *
 * With the header Range (RFC 9110) a part of it, so that what was broken off goes on.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Exchange } from "../api/exchange.ts";
import { found } from "../api/not-found.ts";
import type { Call } from "../api/resource-reads.ts";
import type { Client } from "../client/client.ts";
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import { archiveFile, archivesFolder } from "./archives/store.ts";
import type { Image, ImageBuild } from "./kinds.ts";
import { imagesFolder } from "./pool.ts";
import { ARTIFACTS, FORMATS } from "./recipe.ts";

/** @throws ApiError */
export async function giveFile<T extends Image | ImageBuild>(
  { exchange, name }: Call,
  client: Client,
  kind: Kind<T>,
): Promise<void> {
  const image: Image | ImageBuild = await found(client, kind, { name });
  const sha256 = exchange.query.get("archive");
  const file = sha256 === null ? fileOf(image, exchange.query.get("format")) : archiveOf(image, sha256);
  const images = await imagesFolder(client, image.spec.storagePool);
  const path = sha256 === null ? join(images, file) : archiveFile(archivesFolder(images), sha256);
  const size = await stat(path).then(
    (found) => found.size,
    () => {
      throw new ApiError("NotFound", `the file ${file} of image ${name} is not in the pool any more`, {
        name,
      });
    },
  );
  await answer(exchange, { path, file, size });
}

/** @param format null: its disk. @throws ApiError NotFound */
function fileOf(image: Image | ImageBuild, format: string | null): string {
  const { artifacts = [], file: disk, phase } = image.status ?? {};
  const file = format === null ? disk : artifacts.find((each) => each.format === format)?.file;
  if ((phase !== "Ready" && phase !== "Succeeded") || !file)
    throw new ApiError("NotFound", whyNoFile(image, format ?? undefined), { name: image.metadata.name });
  return file;
}

/** Only what its recipe names: of others nothing is told. @throws ApiError NotFound */
function archiveOf({ metadata: { name }, spec }: Image | ImageBuild, sha256: string): string {
  const archive = spec.recipe?.archives?.find((each) => each.sha256 === sha256);
  if (archive) return archive.file;
  throw new ApiError("NotFound", `the recipe of image ${name} names no archive with that sha256`, { name });
}

async function answer(
  exchange: Exchange,
  { path, file, size }: { path: string; file: string; size: number },
): Promise<void> {
  const { response, request } = exchange;
  const part = partOf(request.headers.range, size);
  const code = part === undefined ? 200 : part === "none" ? 416 : 206;
  exchange.onAnswer?.(code);
  const { start, end } = typeof part === "object" ? part : { start: 0, end: size - 1 };
  const about = code === 416 ? `bytes */${size}` : `bytes ${start}-${end}/${size}`;
  response.writeHead(code, {
    "content-type": "application/octet-stream",
    "content-length": code === 416 ? 0 : end - start + 1,
    "content-disposition": `attachment; filename="${file}"`,
    "accept-ranges": "bytes",
    ...(code === 200 ? {} : { "content-range": about }),
    "cache-control": "no-store",
  });
  exchange.leave?.();
  const bytes = code === 416 || size === 0 ? [] : createReadStream(path, { start, end });
  await pipeline(bytes, response).catch(() => response.destroy());
}

/** @returns undefined: all of it, as for whatever is no range of bytes or several */
function partOf(
  range: string | undefined,
  size: number,
): { start: number; end: number } | "none" | undefined {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(range ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  if (first === "")
    return last === "0" || size === 0 ? "none" : { start: Math.max(0, size - Number(last)), end: size - 1 };
  const start = Number(first);
  if (last !== "" && Number(last) < start) return undefined;
  return start >= size ? "none" : { start, end: last === "" ? size - 1 : Math.min(Number(last), size - 1) };
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
