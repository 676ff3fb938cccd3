/** `vireo image import`: a disk from elsewhere becomes an image. */
import { stat } from "node:fs/promises";
import type { HttpClient } from "../client/http.ts";
import { Image } from "../images/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import { sha256Of } from "../system/digest.ts";
import { connectTo } from "./connect.ts";
import { follow, type Standing } from "./operation.ts";
import type { Place } from "./resources.ts";
import { type Source, sendFile, withFile } from "./send-file.ts";
import { stoppedBy } from "./stop-signal.ts";
import { UserError, unreadable } from "./user-error.ts";

export interface ImportOptions {
  name: string;
  /** A file here, or a URL that the control plane fetches. */
  from: string;
  sha256?: string;
  storagePool?: string;
  detach: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

type Print = (line: string) => void;

/** Broken off, the same command goes on where it ended. @throws UserError */
export async function importImage(place: Place, options: ImportOptions, print: Print): Promise<void> {
  const { from, sha256, ...rest } = options;
  const client = connectTo(place);
  if (/^https?:\/\//.test(from))
    return importTo(client, { ...rest, spec: { url: from, sha256: needed(sha256) } }, print);
  const spec = await ofFile(from, sha256);
  await withFile(from, (source) => importTo(client, { ...rest, spec, source }, print));
}

export interface Brought extends Omit<ImportOptions, "from" | "sha256"> {
  spec: NonNullable<Image["spec"]["import"]>;
  /** What is sent; of a URL nothing is. */
  source?: Source;
  /** Where it is sent to, in words, when that is not the installation here. */
  where?: string;
}

/** @throws UserError */
export async function importTo(client: HttpClient, brought: Brought, print: Print): Promise<void> {
  const { name, spec, source, detach, timeoutMs, signal } = brought;
  const pool = brought.storagePool === undefined ? {} : { storagePool: brought.storagePool };
  const image = await client
    .create(Image, { metadata: { name }, spec: { ...pool, import: spec } })
    .catch(async (error: unknown) => {
      if (!isApiError(error, "AlreadyExists")) throw error;
      const there = await client.get(Image, { name });
      const same = there?.spec.import?.sha256 === spec.sha256 && there.spec.import.url === spec.url;
      if (!there || !same)
        throw new UserError(
          `image/${name} is there already, and is not of this file; choose another name, or delete it`,
        );
      if (there.status?.phase === "Failed")
        throw new UserError(`image/${name} has failed; delete it first: vireo delete image ${name}`);
      return there;
    });
  if (source && image.status?.phase !== "Ready") {
    const path = `/apis/vireo.dev/v1/images/${encodeURIComponent(name)}/upload`;
    await sendFile(client, { path, source, about: `image/${name}` }, signal, print);
  }
  const { where = "" } = brought;
  if (signal.aborted)
    throw stoppedBy(
      signal,
      `image/${name}: stopped; the same command goes on, vireo image cancel ${name}${where} ends it`,
    );
  if (detach) return print(`image/${name} is being imported; vireo get image ${name} -w shows it`);
  const left = `the import of image/${name} goes on${where}; vireo image cancel ${name}${where} ends it`;
  await follow(client, Image, image.metadata, { timeoutMs, signal, standing, left }, print);
}

function needed(sha256: string | undefined): string {
  if (sha256 === undefined)
    throw new UserError("--sha256: say what the file must be; the page that has the URL mostly has it, too");
  return sha256;
}

async function ofFile(
  file: string,
  expected: string | undefined,
): Promise<{ bytes: number; sha256: string }> {
  const found = await stat(file).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  if (!found.isFile()) throw new UserError(`${file}: is not a file`);
  const sha256 = await sha256Of(file);
  if (expected !== undefined && sha256 !== expected.toLowerCase())
    throw new UserError(`${file}: has the sha256 ${sha256}, --sha256 says ${expected}`);
  return { bytes: found.size, sha256 };
}

function standing({ status }: Image): Standing {
  const { phase, progress = "", file, conditions = [] } = status ?? {};
  if (phase === "Ready") return { line: `is ready: ${file}`, over: "done" };
  if (phase === "Failed")
    return { line: conditions.find(({ type }) => type === "Ready")?.message ?? "", over: "failed" };
  return { line: progress || "waits" };
}

/** Ends an import by deleting its image, which was none yet. @returns whether there was one */
export async function cancelImport(place: Place, name: string, print: Print): Promise<boolean> {
  const client = connectTo(place);
  const image = await client.get(Image, { name });
  if (!image?.spec.import || image.status?.phase === "Ready") return false;
  await client.delete(Image, { name }, image.metadata.uid ? { uid: image.metadata.uid } : {});
  print(`the import of image/${name} was ended; nothing is left of it`);
  return true;
}
