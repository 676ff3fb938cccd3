/** Archives that a recipe names, beside it: their sha256 and sizes are put into the recipe, and the build is sent them. */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { HttpClient } from "../client/http.ts";
import { tarMembers } from "../images/import/tar.ts";
import type { ImageBuild } from "../images/kinds.ts";
import type { Archive } from "../images/recipe-parts.ts";
import { MAX_ARCHIVE_MEMBERS } from "../images/shared.ts";
import { isFields } from "../resource/fields.ts";
import { sha256Of } from "../system/digest.ts";
import { type Source, sendFile, withFile } from "./send-file.ts";
import { UserError } from "./user-error.ts";

/** @param what the recipe's file @returns the recipe with what is known of its archives. @throws UserError naming the field */
export async function withArchives(
  recipe: Record<string, unknown>,
  what: string,
): Promise<Record<string, unknown>> {
  const { archives } = recipe;
  if (!Array.isArray(archives)) return recipe; // the server tells of what it should be
  const all: unknown[] = [];
  for (const [i, archive] of archives.entries()) {
    if (!isFields(archive) || typeof archive.file !== "string") {
      all.push(archive);
      continue;
    }
    const path = join(dirname(what), archive.file);
    if (!existsSync(path)) {
      if (archive.sha256 === undefined)
        throw new UserError(
          `${what}: archives[${i}].file: there is no ${path}, nor a sha256 of one that was sent before`,
        );
      all.push(archive);
      continue;
    }
    const wrong = (text: string) => new UserError(`${what}: archives[${i}].file: ${path} ${text}`);
    const found = await stat(path);
    if (!found.isFile()) throw wrong("is no file; it takes a tar archive");
    // Before hours of sending, not after.
    await tarMembers(path, MAX_ARCHIVE_MEMBERS).catch((cause: unknown) => {
      throw wrong(cause instanceof Error ? cause.message : String(cause));
    });
    const sha256 = await sha256Of(path);
    if (archive.sha256 !== undefined && archive.sha256 !== sha256)
      throw new UserError(
        `${what}: archives[${i}].sha256: ${path} has the sha256 ${sha256}; leave sha256 and bytes out, or bring the right file`,
      );
    all.push({ ...archive, sha256, bytes: found.size });
  }
  return { ...recipe, archives: all };
}

/** Those that are beside the recipe; of others the build tells that it waits for them. @throws UserError */
export async function sendArchives(
  client: HttpClient,
  build: ImageBuild,
  what: string,
  signal: AbortSignal,
  print: (line: string) => void,
): Promise<void> {
  for (const archive of build.spec.recipe.archives ?? []) {
    const path = join(dirname(what), archive.file);
    if (!existsSync(path)) continue;
    await withFile(path, (source) => sendArchive(client, build, { archive, source }, signal, print));
  }
}

/** Nothing is sent of one that is there already. @throws UserError */
export function sendArchive(
  client: HttpClient,
  { metadata: { name } }: ImageBuild,
  { archive: { file, sha256 }, source }: { archive: Archive; source: Source },
  signal: AbortSignal,
  print: (line: string) => void,
): Promise<void> {
  const path = `/apis/vireo.dev/v1/imagebuilds/${encodeURIComponent(name)}/upload`;
  const about = `imagebuild/${name}: ${file}`;
  return sendFile(client, { path, query: `sha256=${sha256}`, source, about }, signal, print);
}
