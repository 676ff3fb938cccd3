/** `vireo image build`, `cancel`, `log`: an ImageBuild made, followed, ended, read. */
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { parseDocument } from "yaml";
import type { Client } from "../client/client.ts";
import { Image, ImageBuild } from "../images/kinds.ts";
import { Recipe } from "../images/recipe.ts";
import { createBuild } from "../images/reconciler.ts";
import { allReleases, distributionName } from "../images/releases/releases.ts";
import { isBuildOver } from "../images/shared.ts";
import { isFields } from "../resource/fields.ts";
import { hint } from "../resource/nearest.ts";
import { connectTo } from "./connect.ts";
import { lockedRecipe } from "./image.ts";
import { sendArchives, withArchives } from "./image-archives.ts";
import { follow, type Standing } from "./operation.ts";
import type { Place } from "./resources.ts";
import { stoppedBy } from "./stop-signal.ts";
import { UserError, unreadable } from "./user-error.ts";

export interface BuildFlags {
  name?: string;
  package: string[];
  service: string[];
  directory: string[];
  distribution?: string;
  mode?: Recipe["mode"];
  kernel?: Recipe["kernel"];
  boot?: Recipe["boot"];
  root?: Recipe["root"];
  minimize?: boolean;
  guestAgent: boolean;
}

type Print = (line: string) => void;

/** Of a file; of a name alone there is no recipe. */
interface Read {
  name?: string;
  storagePool?: string;
  recipe?: Record<string, unknown>;
}

/** Other words are names of images, also where a folder has that name. */
const isFile = (what: string) =>
  /\.(ya?ml|json)$|\/|^-$/.test(what) || statSync(what, { throwIfNoEntry: false })?.isFile() === true;

/** @throws UserError when it is wrong, or the build fails */
export async function buildImage(
  place: Place,
  request: { what: string; flags: BuildFlags; detach: boolean; timeoutMs: number; signal: AbortSignal },
  print: Print,
): Promise<void> {
  const { what, flags } = request;
  const read = readRecipe(what);
  const name = flags.name ?? read.name;
  if (!name) throw new UserError("--name: what is read from the standard input needs a name");
  const recipe = await withArchives(recipeAsked(read.recipe, flags), what);
  if (read.recipe === undefined && flags.package.length === 0)
    throw new UserError("--package: name at least one package, for example --package nginx-light");
  const client = connectTo(place);
  const image = await client.get(Image, { name });
  const storagePool = read.storagePool ?? image?.spec.storagePool;
  // Safe: the server looks it over, field by field, against the schema.
  const spec = { recipe: recipe as Recipe, ...(storagePool ? { storagePool } : {}) };
  const build = await createBuild(client, name, spec);
  const of = `imagebuild/${build.metadata.name}`;
  // It would wait for what does not come: the next build is sent all of it again.
  const isCancelled = () =>
    cancel(client, build).then(
      () => true,
      () => false,
    );
  const left = `${of} could not be cancelled; vireo image cancel ${build.metadata.name} does it`;
  try {
    await sendArchives(client, build, what, request.signal, print);
  } catch (error) {
    if (!(await isCancelled())) print(left);
    throw error;
  }
  if (request.signal.aborted && recipe.archives !== undefined) {
    const words = (await isCancelled())
      ? `${of} is being cancelled: not all of its archives were sent`
      : left;
    throw stoppedBy(request.signal, words);
  }
  if (request.detach)
    return print(`${of} of image/${name} waits; vireo image log -f ${build.metadata.name} shows it`);
  await followBuild(client, build, request, print);
}

/** Until the image is what was built. @param where it is built, in words, when not here @throws UserError when it failed */
export async function followBuild(
  client: Client,
  { metadata, spec }: ImageBuild,
  { timeoutMs, signal, where = "" }: { timeoutMs: number; signal: AbortSignal; where?: string },
  print: Print,
): Promise<void> {
  const left = `imagebuild/${metadata.name} goes on${where}; vireo image cancel ${metadata.name}${where} ends it`;
  const options = { timeoutMs, signal, left };
  await follow(client, ImageBuild, metadata, { ...options, standing }, print);
  const image = await metadataOf(client, spec.image);
  await follow(client, Image, image, { ...options, standing: imageStanding(metadata.name) }, print);
}

async function metadataOf(client: Client, name: string) {
  const image = await client.get(Image, { name });
  if (!image) throw new UserError(`image/${name} was deleted while it was built`);
  return image.metadata;
}

function standing({ status, spec }: ImageBuild): Standing {
  const { phase = "Pending", message = "", percent = 0, secondsLeft } = status ?? {};
  if (phase === "Succeeded") return { line: message, over: "done" };
  if (phase === "Failed") return { line: message, over: "failed" };
  if (phase === "Cancelled") return { line: message, over: "failed" };
  if (spec.cancelled) return { line: "is being cancelled" };
  if (phase === "Pending") return { line: message || "waits" };
  return { line: `${`${percent}`.padStart(2)} %  ${message}${secondsLeft ? `, ${secondsLeft} s left` : ""}` };
}

const imageStanding =
  (build: string) =>
  ({ status, metadata }: Image): Standing => {
    if (status?.observedGeneration !== metadata.generation || status?.build !== build)
      return { line: "gets what was built" };
    return status.phase === "Ready"
      ? { line: `is ready: ${status.file}`, over: "done" }
      : { line: "gets what was built" };
  };

/** @param what a file, which has a recipe, or an Image or ImageBuild with one; or the name of an image. @throws UserError naming file and field */
export function readRecipe(what: string): Read {
  return isFile(what) ? readFile(what) : { name: what };
}

function readFile(file: string): Read {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw unreadable(file, cause);
  }
  const document = parseDocument(text, { uniqueKeys: true });
  const [error] = document.errors;
  if (error)
    throw new UserError(`${file}:${error.linePos?.[0].line ?? "?"}: ${error.message.split("\n")[0]}`);
  const value: unknown = document.toJS({ maxAliasCount: 100 });
  if (!isFields(value)) throw new UserError(`${file}: holds no recipe; it needs packages: [...] at least`);
  const named = file === "-" ? {} : { name: basename(file).replace(/\.(ya?ml|json)$/, "") };
  if (value.kind === undefined) {
    // The server tells of what is wrong inside; here only of what is no recipe at all.
    const wrong = Object.keys(value).find((field) => !RECIPE_FIELDS.includes(field));
    if (wrong)
      throw new UserError(
        `${file}: ${wrong}: a recipe has no such field${hint(wrong, RECIPE_FIELDS)}; vireo explain image.spec.recipe shows all`,
      );
    return { ...named, recipe: value };
  }
  const { kind, metadata, spec } = value;
  if (kind !== "Image" && kind !== "ImageBuild")
    throw new UserError(
      `${file}: kind: ${JSON.stringify(kind)} has no recipe; it is an Image, an ImageBuild or a recipe alone`,
    );
  if (!isFields(spec) || !isFields(spec.recipe)) throw new UserError(`${file}: spec.recipe: is missing`);
  const name = kind === "ImageBuild" ? spec.image : isFields(metadata) ? metadata.name : undefined;
  return {
    ...named,
    ...(typeof name === "string" ? { name } : {}),
    ...(typeof spec.storagePool === "string" ? { storagePool: spec.storagePool } : {}),
    recipe: spec.recipe,
  };
}

const RECIPE_FIELDS = Object.keys(Recipe.properties);

/** Flags add to the recipe's lists, and replace its words. @throws UserError */
export function recipeAsked(
  recipe: Record<string, unknown> = {},
  flags: BuildFlags,
): Record<string, unknown> {
  const services = flags.service.map((text) => {
    const at = text.indexOf("=");
    if ((flags.mode ?? recipe.mode) === "full" && at < 0) return { name: text };
    if (at < 1)
      throw new UserError(
        `--service: ${JSON.stringify(text)} is not NAME=COMMAND; with mode: full the name alone will do of a unit that a package brings`,
      );
    return { name: text.slice(0, at), command: text.slice(at + 1) };
  });
  const list = (field: string, more: readonly unknown[]) => {
    const before: unknown = recipe[field];
    const all = [...(Array.isArray(before) ? before : []), ...more];
    return more.length > 0 || field === "packages"
      ? { [field]: before !== undefined && !Array.isArray(before) ? before : all }
      : {};
  };
  const { mode, kernel, boot, root, minimize, guestAgent } = flags;
  const system = allReleases().find((each) => distributionName(each) === flags.distribution);
  return {
    ...recipe,
    ...system,
    ...list("packages", flags.package),
    ...list("services", services),
    ...list("directories", flags.directory),
    ...(mode ? { mode } : {}),
    ...(kernel ? { kernel } : {}),
    ...(boot ? { boot } : {}),
    ...(root ? { root } : {}),
    ...(minimize ? { minimize } : {}),
    ...(guestAgent ? {} : { guestAgent }),
  };
}

/** @throws UserError when it is not built by a recipe, or is not what its packages make of it */
export async function verifyImage(
  place: Place,
  name: string,
  options: { timeoutMs: number; signal: AbortSignal },
  print: Print,
): Promise<void> {
  const { image, recipe } = await lockedRecipe(place, name);
  const client = connectTo(place);
  const spec = { recipe, storagePool: image.spec.storagePool, verify: true };
  const build = await createBuild(client, name, spec);
  await follow(client, ImageBuild, build.metadata, { ...options, standing }, print);
}

/** The build of that name, or the newest of the image. @throws UserError */
async function findBuild(client: Client, name: string): Promise<ImageBuild> {
  const build = await client.get(ImageBuild, { name });
  if (build) return build;
  const { items } = await client.list(ImageBuild, { fieldSelector: `spec.image=${name}` });
  const newest = items
    .sort((a, b) => ((a.metadata.creationTimestamp ?? "") < (b.metadata.creationTimestamp ?? "") ? -1 : 1))
    .at(-1);
  if (!newest)
    throw new UserError(
      `there is no build ${name}, nor one of an image ${name}; vireo get imagebuilds lists them`,
    );
  return newest;
}

/** @throws UserError when it is over, or not there */
export async function cancelBuild(place: Place, name: string, print: Print): Promise<void> {
  const client = connectTo(place);
  const build = await findBuild(client, name);
  const what = `imagebuild/${build.metadata.name}`;
  if (isBuildOver(build)) throw new UserError(`${what} is over already: ${build.status?.phase}`);
  await cancel(client, build);
  print(`${what} is being cancelled`);
}

const cancel = (client: Client, { metadata }: ImageBuild) =>
  client.patch(ImageBuild, { name: metadata.name }, { spec: { cancelled: true } });

/** To standard output. @throws UserError */
export async function printLog(
  place: Place,
  name: string,
  options: { follow: boolean; signal: AbortSignal },
): Promise<void> {
  const client = connectTo(place);
  const { metadata } = await findBuild(client, name);
  const path = `/apis/vireo.dev/v1/imagebuilds/${metadata.name}/log${options.follow ? "?follow=true" : ""}`;
  try {
    for await (const bytes of client.bytes(path, options.signal)) process.stdout.write(bytes);
  } catch (error) {
    if (!options.signal.aborted) throw error;
  }
}
