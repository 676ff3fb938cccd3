/** `vireo image lock`, `vireo image sbom`: what an image was built from. */
import { stringify } from "yaml";
import { Image } from "../images/kinds.ts";
import { type SbomFormat, sbom } from "../images/sbom.ts";
import { connectTo } from "./connect.ts";
import type { StatePaths } from "./paths.ts";
import { UserError } from "./user-error.ts";
import { describeImage } from "./watch-vms.ts";

/** An image that was built by a recipe. @throws UserError for any other */
async function builtImage(paths: StatePaths, name: string) {
  const image = await connectTo(paths).get(Image, { name });
  if (!image) throw new UserError(`there is no image ${name}; vireo get images lists them`);
  const { recipe } = image.spec;
  if (!recipe) throw new UserError(`image/${name} is a file that was brought along, not built from a recipe`);
  const { phase, packages = [], sha256 = "", observedGeneration } = image.status ?? {};
  if (phase !== "Ready" || observedGeneration !== image.metadata.generation)
    throw new UserError(`image/${name} is not built yet: ${describeImage(image)}`);
  return { image, recipe, packages, sha256 };
}

/**
 * Prints a manifest of the image that pins each package by version and sha256: from it the same image is built, bit for bit, at any time.
 * @throws UserError when the image is not built by a recipe, or not built yet
 */
export async function printLock(
  paths: StatePaths,
  name: string,
  print: (line: string) => void,
): Promise<void> {
  const { image, recipe, packages } = await builtImage(paths, name);
  const { storagePool } = image.spec;
  const lock = packages.flatMap(({ sha256, ...known }) => (sha256 ? [{ ...known, sha256 }] : []));
  if (lock.length < packages.length || lock.length === 0)
    throw new UserError(
      `image/${name} was built by an older Vireo, which kept no digests of packages; build it again under another name`,
    );
  const { apiVersion, kind } = image;
  const manifest = {
    apiVersion,
    kind,
    metadata: { name },
    spec: { storagePool, recipe: { ...recipe, lock } },
  };
  print(stringify(manifest, { lineWidth: 0 }).trimEnd());
}

/** Prints the list of the image's packages for scanners. @throws UserError as printLock does */
export async function printSbom(
  paths: StatePaths,
  name: string,
  format: SbomFormat,
  print: (line: string) => void,
): Promise<void> {
  const { image, recipe, packages, sha256 } = await builtImage(paths, name);
  const ready = image.status?.conditions?.find(({ type }) => type === "Ready");
  const created = ready?.lastTransitionTime ?? image.metadata.creationTimestamp ?? "";
  const contents = { name, sha256, created, release: recipe.release, packages };
  print(JSON.stringify(sbom(format, contents), undefined, 2));
}
