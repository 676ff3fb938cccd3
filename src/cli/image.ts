/** `vireo image build`: makes an Image with a recipe, and shows the control plane building it; `vireo image lock`: what it was built from. */
import { stringify } from "yaml";
import { Image } from "../images/kinds.ts";
import { type SbomFormat, sbom } from "../images/sbom.ts";
import { connectTo } from "./connect.ts";
import type { StatePaths } from "./paths.ts";
import { UserError } from "./user-error.ts";
import { describeImage } from "./watch-vms.ts";

/** @throws UserError when the build fails */
export async function buildImage(
  paths: StatePaths,
  request: { name: string; packages: readonly string[]; services: readonly string[]; timeoutMs: number },
  print: (line: string) => void,
): Promise<void> {
  if (request.packages.length === 0)
    throw new UserError("--package: name at least one Debian package, for example --package nginx-light");
  const services = request.services.map((text) => {
    const at = text.indexOf("=");
    if (at < 1) throw new UserError(`--service: ${JSON.stringify(text)} is not NAME=COMMAND`);
    return { name: text.slice(0, at), command: text.slice(at + 1) };
  });
  const client = connectTo(paths);
  const begin = Date.now();
  const spec = { recipe: { packages: [...request.packages], ...(services.length ? { services } : {}) } };
  const at = { name: request.name };
  const image = (await client.get(Image, at))
    ? // A merge patch keeps what it does not name, and a lock is of the packages that were there before.
      await client.patch(Image, at, { spec: { recipe: { lock: null, ...spec.recipe } } })
    : await client.create(Image, { metadata: at, spec });
  const generation = image.metadata.generation ?? 0;
  for (let said = ""; ; ) {
    const now = await client.get(Image, at);
    if (!now) throw new UserError(`image/${request.name} was deleted while it was built`);
    const observed = (now.status?.observedGeneration ?? 0) >= generation;
    const text = observed ? describeImage(now) : "Pending";
    if (text !== said) print(`image/${request.name}  ${text}`);
    said = text;
    if (observed && now.status?.phase === "Ready") {
      const { file, allocatedBytes, packages } = now.status;
      print(
        `${file}: ${((allocatedBytes ?? 0) / 2 ** 20).toFixed(1)} MiB, ${packages?.length ?? 0} packages, ${((Date.now() - begin) / 1000).toFixed(1)} s`,
      );
      return;
    }
    if (observed && now.status?.phase === "Failed") throw new UserError(text);
    if (Date.now() - begin > request.timeoutMs)
      throw new UserError(`image/${request.name} is not built after ${request.timeoutMs / 1000} s: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

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
