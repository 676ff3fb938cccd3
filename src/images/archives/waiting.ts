/** What a build waits for before it begins: archives of its recipe, which come in parts (upload.ts) or not at all. */
import type { ImageBuild } from "../kinds.ts";
import { lastPartMs, missingArchives, nameWhole } from "./store.ts";

/** How long after the last part has come, in ms. */
const WAIT_MS = 3600_000;

/** For users: what it still waits for, or why it waits no more. */
export type Wait = { waits: string } | { failed: string };

/**
 * Takes what has come whole.
 * @param folder where archives are kept @param nowMs since the epoch @returns undefined when all is there. @throws Error of the file system, or the signal's reason
 */
export async function awaitArchives(
  folder: string,
  build: ImageBuild,
  nowMs: number,
  signal: AbortSignal,
): Promise<Wait | undefined> {
  const { metadata, spec } = build;
  const wanted = await missingArchives(folder, spec.recipe.archives);
  const other = await nameWhole(folder, wanted, build, signal);
  if (other)
    return {
      failed: `what came is not the ${other.file} whose sha256 is ${other.sha256}; build again, which sends it anew`,
    };
  const missing = await missingArchives(folder, wanted);
  if (missing.length === 0) return undefined;
  const names = missing.map(({ file, sha256 }) => `${file} (sha256 ${sha256.slice(0, 12)}…)`).join(", ");
  const waits = `waits for ${names}: vireo image build sends it from beside the recipe, or POST …/imagebuilds/${metadata.name}/upload`;
  const heardMs = Math.max(
    Date.parse(metadata.creationTimestamp ?? ""),
    await lastPartMs(folder, wanted, build),
  );
  return nowMs - heardMs > WAIT_MS ? { failed: `nothing more has come for an hour; ${waits}` } : { waits };
}
