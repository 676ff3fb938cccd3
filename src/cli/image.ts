/** `vireo image lock`, `sbom`: what an image was built from; `vireo image export`: its files. */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { stringify } from "yaml";
import { Image } from "../images/kinds.ts";
import type { Recipe } from "../images/recipe.ts";
import { type SbomFormat, sbom } from "../images/trust/sbom.ts";
import { lockOf, UNLOCKED, whyNotBuilt } from "../images/trust/standing.ts";
import { getCondition } from "../resource/object.ts";
import { connectTo } from "./connect.ts";
import { missing } from "./missing.ts";
import type { Place } from "./resources.ts";
import { stoppedBy } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";

/** An image that was built by a recipe. @throws UserError for any other */
export async function builtImage(place: Place, name: string) {
  const image = await connectTo(place).get(Image, { name });
  if (!image) throw missing("image", name);
  return built(image);
}

function built(image: Image) {
  const { recipe } = image.spec;
  const why = whyNotBuilt(image);
  if (!recipe || why) throw new UserError(`image/${image.metadata.name} ${why}`);
  const { packages = [], sha256 = "" } = image.status ?? {};
  return { image, recipe, packages, sha256 };
}

/** The image's recipe with each package as it was built from. @throws UserError */
export function locked(image: Image): Recipe {
  const { recipe, packages } = built(image);
  const lock = lockOf(packages);
  if (!lock) throw new UserError(`image/${image.metadata.name} ${UNLOCKED}`);
  return { ...recipe, lock };
}

/** @throws UserError */
export async function lockedRecipe(place: Place, name: string) {
  const { image } = await builtImage(place, name);
  return { image, recipe: locked(image) };
}

/**
 * Prints a manifest of the image that pins each package by version and sha256: from it the same image is built, bit for bit, at any time.
 * @throws UserError when the image is not built by a recipe, or not built yet
 */
export async function printLock(place: Place, name: string, print: (line: string) => void): Promise<void> {
  const { image, recipe } = await lockedRecipe(place, name);
  const { apiVersion, kind, spec } = image;
  const manifest = { apiVersion, kind, metadata: { name }, spec: { ...spec, recipe } };
  print(stringify(manifest, { lineWidth: 0 }).trimEnd());
}

/** Prints the list of the image's packages for scanners. @throws UserError as printLock does */
export async function printSbom(
  place: Place,
  name: string,
  format: SbomFormat,
  print: (line: string) => void,
): Promise<void> {
  const { image, recipe, packages, sha256 } = await builtImage(place, name);
  const ready = image.status?.conditions?.find(({ type }) => type === "Ready");
  const created = ready?.lastTransitionTime ?? image.metadata.creationTimestamp ?? "";
  const contents = { name, sha256, created, system: recipe, packages };
  print(JSON.stringify(sbom(format, contents), undefined, 2));
}

/**
 * Copies a file of the image; what is there under that name stays until all of it has come, and is what the image says.
 * @throws UserError
 */
export async function exportImage(
  place: Place,
  name: string,
  options: { format?: string; output?: string; signal: AbortSignal },
  print: (line: string) => void,
): Promise<void> {
  const client = connectTo(place);
  const image = await client.get(Image, { name });
  if (!image) throw missing("image", name);
  const { status } = image;
  if (status?.phase !== "Ready")
    throw new UserError(
      `image/${name} is not ready: ${getCondition(image.status?.conditions, "Ready")?.message ?? "it is not made yet"}`,
    );
  const { format, signal } = options;
  const of = format === undefined ? status : status.artifacts?.find((each) => each.format === format);
  const output = options.output ?? of?.file;
  const query = format === undefined ? "" : `?format=${encodeURIComponent(format)}`;
  const path = `/apis/vireo.dev/v1/images/${encodeURIComponent(name)}/file${query}`;
  const part = `${output ?? name}.part`;
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    const from = async function* () {
      for await (const chunk of client.bytes(path, signal)) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    };
    await pipeline(from, createWriteStream(part));
    if (signal.aborted) throw stoppedBy(signal, `image/${name}: stopped; nothing was written`);
    const sha256 = hash.digest("hex");
    if (of?.sha256 !== undefined && sha256 !== of.sha256)
      throw new UserError(
        `image/${name}: what came has the sha256 ${sha256}, the image says ${of.sha256}; vireo image verify ${name} tells more`,
      );
    await rename(part, output ?? name);
    print(`${output}: ${bytes} bytes, sha256 ${sha256}`);
  } finally {
    await rm(part, { force: true });
  }
}
