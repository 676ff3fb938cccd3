/**
 * Where what is brought lies until it is an image: POOL/images/.import-UID8/, with the file as it comes under `received`. All that an import leaves
 * behind when it is killed is there; it goes on with it, and with the image it goes.
 */
import { type FileHandle, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Image } from "../kinds.ts";

const PREFIX = ".import-";
const idOf = ({ metadata }: Pick<Image, "metadata">) => (metadata.uid ?? "").slice(0, 8);

export const importFolder = (images: string, image: Pick<Image, "metadata">) =>
  join(images, `${PREFIX}${idOf(image)}`);

export const receivedFile = (images: string, image: Pick<Image, "metadata">) =>
  join(importFolder(images, image), "received");

/** Bytes that are there. */
export const receivedBytes = (images: string, image: Pick<Image, "metadata">) =>
  stat(receivedFile(images, image)).then(
    ({ size }) => size,
    () => 0,
  );

/** Adds a part behind what is there. The caller sees to it that nobody else does. @throws Error of the file system */
export async function receive(
  images: string,
  image: Pick<Image, "metadata">,
  offset: number,
  bytes: Buffer,
): Promise<void> {
  await mkdir(importFolder(images, image), { recursive: true, mode: 0o700 });
  await writePart(receivedFile(images, image), offset, bytes);
}

/** The first part makes the file anew. @throws Error of the file system */
export async function writePart(path: string, offset: number, bytes: Buffer): Promise<void> {
  const file = await open(path, offset === 0 ? "w" : "r+", 0o600);
  try {
    await writeAll(file, bytes, offset);
  } finally {
    await file.close();
  }
}

/** One write may take only a part of it: on a disk that is nearly full, say. @throws Error of the file system */
export async function writeAll(file: Pick<FileHandle, "write">, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}

/**
 * Removes what imports have left whose image is gone, or has its file.
 * @param coming images that are still being brought, undefined when that is not known; asked after the folder was read, so that none is missed that began meanwhile
 */
export async function removeStaleImports(
  images: string,
  coming: () => Promise<readonly Pick<Image, "metadata">[] | undefined>,
): Promise<void> {
  const names = await readdir(images).catch(() => []);
  const left = names.filter((name) => name.startsWith(PREFIX));
  const open = left.length > 0 ? await coming() : undefined;
  if (!open) return;
  const known = new Set(open.map((image) => `${PREFIX}${idOf(image)}`));
  for (const name of left)
    if (!known.has(name)) await rm(join(images, name), { recursive: true, force: true });
}
