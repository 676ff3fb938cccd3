/**
 * Of ImageBuilds:
 *
 *   GET …/imagebuilds/NAME/log   what was done, and how long it took. ?tailLines=N, ?follow=true: until the build is over
 *   …/imagebuilds/NAME/upload    archives/upload.ts
 *   GET …/imagebuilds/NAME/file  files.ts
 *
 * Of Images:
 *
 *   …/images/NAME/upload         import/upload.ts
 *   GET …/images/NAME/file       files.ts
 *   GET …/images/NAME/key        the public key that its signature is checked with, PEM: the installation's
 */
import { open, readFile } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { flag, send } from "../api/exchange.ts";
import { found } from "../api/not-found.ts";
import { type Call, integer } from "../api/resource-reads.ts";
import { beginStream, type Subresource } from "../api/subresource.ts";
import type { Client } from "../client/client.ts";
import { ApiError, isApiError } from "../resource/errors.ts";
import { archiveUpload } from "./archives/upload.ts";
import { logFile } from "./build-log.ts";
import { giveFile } from "./files.ts";
import { uploadSubresource } from "./import/upload.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { imagesFolder } from "./pool.ts";
import { isBuildOver } from "./shared.ts";
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
      handle: (call) => giveFile(call, options.client, Image),
    },
    {
      of: Image,
      name: "key",
      methods: { GET: "get" },
      handle: async ({ exchange, name }) => {
        await found(options.client, Image, { name });
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
      handle: (call) => giveFile(call, options.client, ImageBuild),
    },
    archiveUpload(options.client),
  ];
}

async function buildLog(call: Call, { client }: SubresourceOptions): Promise<void> {
  const { exchange, name } = call;
  const lines = integer(exchange, "tailLines");
  const get = () => found(client, ImageBuild, { name });
  const build = await get();
  // Of a pool that is not there neither is a log.
  const images = await imagesFolder(client, build.spec.storagePool).catch((error: unknown) => {
    if (isApiError(error)) throw error;
    return undefined;
  });
  const file = images === undefined ? "" : logFile(images, build);
  const text = await readFile(file, "utf8").catch(() => "");
  const tail =
    lines === undefined
      ? text
      : text
          .split("\n")
          .slice(-lines - 1)
          .join("\n");
  if (!flag(exchange.query.get("follow")) || isBuildOver(build)) {
    if (text === "" && build.status?.startedTime)
      throw new ApiError(
        "NotFound",
        `the log of imagebuild ${name} is not in the storage pool ${build.spec.storagePool}: it was removed there, or the pool is not one that the control planes share`,
        { name },
      );
    return send(exchange, 200, Buffer.from(tail), { contentType });
  }
  const { response } = exchange;
  const leave = beginStream(call, contentType);
  response.write(tail);
  try {
    let at = Buffer.byteLength(text);
    while (!exchange.over.aborted && !response.destroyed) {
      // Asked before the file is read: what was said last is there when it is over.
      const over = await get().then(isBuildOver, () => true);
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
