/** Where an application comes from: a file or folder of this machine, an archive, or a URL of one. Archives are unpacked into a folder that goes afterwards. */
import { createWriteStream } from "node:fs";
import { chmod, lstat, mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { run } from "../../system/run.ts";
import { ApplicationError, headOf } from "./application.ts";
import { zipContent, zipEntries } from "./zip.ts";

/** More is no application but a system. */
const MAX_BYTES = 4 * 2 ** 30;
const UNPACK_MS = 300_000;
const TAR = /\.(?:tar(?:\.\w+)?|t[gx]z|tbz2?)$/;
/** Of archives. */
const ENDING = new RegExp(`${TAR.source}|\\.(?:deb|zip|whl)$`);
/** What a program begins with. */
const PROGRAM = /^(?:\x7fELF|#!)/;

/**
 * @param scratch an empty folder for what is downloaded and unpacked
 * @returns the path of a file or folder on this machine. @throws ApplicationError
 */
export async function locate(what: string, scratch: string, signal?: AbortSignal): Promise<string> {
  const isUrl = /^https?:\/\//.test(what);
  const path = isUrl ? await download(new URL(what), scratch, signal) : resolve(what);
  const found = await lstat(path).catch(() => undefined);
  if (!found) throw new ApplicationError(`${what}: there is no such file or folder`);
  if (!found.isFile()) return path;
  // Its place in an image is called so, too (placeOf).
  const into = join(scratch, "unpacked", basename(path).replace(ENDING, "") || "application");
  const limits = { timeoutMs: UNPACK_MS, ...(signal ? { signal } : {}) };
  try {
    await mkdir(dirname(into), { recursive: true });
    if (/\.deb$/.test(path)) {
      checkListed(await run("dpkg-deb", ["-c", path], limits));
      await run("dpkg-deb", ["-x", path, into], limits);
      return into;
    }
    if (TAR.test(path)) {
      checkListed(await run("tar", ["-tvf", path, "--numeric-owner"], limits));
      await mkdir(into);
      // Not beyond the folder, whatever names and links are in it: tar takes care of that.
      await run("tar", ["-xf", path, "-C", into, "--no-same-owner", "--no-same-permissions"], limits);
      return into;
    }
    if (/\.(?:zip|whl)$/.test(path)) {
      await unzip(path, into);
      return into;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw new ApplicationError(
      `${what}: cannot be unpacked: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
  return path;
}

async function download(url: URL, scratch: string, signal?: AbortSignal): Promise<string> {
  const response = await fetch(url, signal ? { signal } : {}).catch((cause: unknown) => {
    signal?.throwIfAborted();
    const inside =
      cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw new ApplicationError(`${url}: cannot be fetched: ${inside}`, { cause });
  });
  if (!response.ok || !response.body)
    throw new ApplicationError(`${url}: the server answered ${response.status} ${response.statusText}`);
  const path = join(scratch, basename(url.pathname).replace(/[^\w.+-]/g, "_") || "download");
  let bytes = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) done(new ApplicationError(`${url}: is more than ${MAX_BYTES} bytes`));
      else done(null, chunk);
    },
  });
  await pipeline(Readable.fromWeb(response.body), bounded, createWriteStream(path));
  // Modes do not come along over HTTP.
  if (PROGRAM.test((await headOf(path, 4)).toString("latin1"))) await chmod(path, 0o755);
  return path;
}

const tooLarge = () => new Error(`has more than ${MAX_BYTES} bytes in it`);

/** @param listing of tar -tv. @throws Error when all of it is more than MAX_BYTES */
function checkListed(listing: string): void {
  let bytes = 0;
  for (const [, size] of listing.matchAll(/^-\S+ \S+ +(\d+) /gm)) bytes += Number(size);
  if (bytes > MAX_BYTES) throw tooLarge();
}

/** @throws Error, also when only one of its files cannot be unpacked: it may be the one that needs something */
async function unzip(path: string, into: string): Promise<void> {
  const zip = await readFile(path);
  const entries = zipEntries(zip);
  if (entries.length === 0) throw new Error("has nothing in it, or is no ZIP file");
  await mkdir(into);
  if (entries.reduce((sum, entry) => sum + entry.bytes, 0) > MAX_BYTES) throw tooLarge();
  for (const entry of entries) {
    const at = resolve(into, entry.name);
    if (entry.name.endsWith("/") || !at.startsWith(`${into}${sep}`)) continue;
    const content = zipContent(zip, entry, MAX_BYTES);
    if (!content)
      throw new Error(
        `${entry.name} in it is damaged, encrypted, or packed in a way that is not known; unpack it, and name the folder`,
      );
    await mkdir(dirname(at), { recursive: true });
    await writeFile(at, content, { mode: 0o755 });
  }
}
