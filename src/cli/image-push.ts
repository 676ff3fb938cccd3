/**
 * `vireo image push`: an image comes to another installation by its content. What is there already, by its sha256, is not sent. An image of a recipe is built there of the very packages
 * that it was built of here, and has to become the same, bit for bit; of any other its disk is sent, and goes on where it was broken off.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HttpClient } from "../client/http.ts";
import { Image } from "../images/kinds.ts";
import { FORMATS } from "../images/recipe.ts";
import { createBuild } from "../images/reconciler.ts";
import { connect, connectTo } from "./connect.ts";
import { exportImage, lockedRecipe } from "./image.ts";
import { followBuild } from "./image-build.ts";
import { importTo } from "./image-import.ts";
import { missing } from "./missing.ts";
import type { StatePaths } from "./paths.ts";
import { UserError } from "./user-error.ts";

export interface PushOptions {
  name: string;
  /** The other installation's kubeconfig. */
  to: string;
  /** There. */
  storagePool?: string;
  timeoutMs: number;
  signal: AbortSignal;
}

type Print = (line: string) => void;

/** Broken off, the same command goes on. @throws UserError */
export async function pushImage(paths: StatePaths, options: PushOptions, print: Print): Promise<void> {
  const { name, to } = options;
  const client = connectTo(paths);
  const image = await client.get(Image, { name });
  client.close();
  if (!image) throw missing("image", name);
  const { phase, sha256 } = image.status ?? {};
  if (phase !== "Ready" || sha256 === undefined)
    throw new UserError(
      `image/${name} ${phase === "Ready" ? "is a file that Vireo did not make: its sha256 is not known; bring it there with vireo image import" : "is not ready"}`,
    );
  const there = connect(to);
  try {
    const same = await sameThere(there, image);
    if (same) return print(`image/${same} is the same there already; nothing is sent: sha256 ${sha256}`);
    await (image.spec.recipe ? pushRecipe : pushDisk)(paths, there, options, print);
    if (options.signal.aborted) return;
    const other = otherwise(image, await there.get(Image, { name }));
    if (other)
      throw new UserError(
        `image/${name} is another one there: ${other}; the two installations may be of different versions of Vireo`,
      );
    const formats = formatsOf(image).map(({ format }) => format);
    print(
      `image/${name} is there, the same disk${formats.map((each) => `, ${each}`).join("")}: sha256 ${sha256}`,
    );
  } finally {
    there.close();
  }
}

/** Files that are the same wherever they are made. */
const formatsOf = ({ status }: Image) =>
  (status?.artifacts ?? []).filter(({ format }) => FORMATS.some((each) => each === format));

/**
 * Of one that is started with its kernel itself the disk does not tell all: with root: ram there is nothing on it. Its file's name has the digest of its recipe,
 * packages and builder.
 */
const madeOf = (image: Image | undefined): string | undefined =>
  image?.status?.boot && /-([0-9a-f]{12})\.qcow2$/.exec(image.status.file ?? "")?.[1];

/** @returns what of the image the one there has not, or has otherwise */
function otherwise(image: Image, there: Image | undefined): string | undefined {
  const { sha256 } = image.status ?? {};
  const { status, spec } = there ?? {};
  if (status?.phase !== "Ready") return "it is not ready";
  // Images remember the disk that they were imported from, too.
  if (status.sha256 !== sha256 && spec?.import?.sha256 !== sha256)
    return `its disk has the sha256 ${status.sha256}, here ${sha256}`;
  if (madeOf(image) !== undefined && madeOf(image) !== madeOf(there))
    return "its kernel and initial RAM disk are made of something else";
  const other = formatsOf(image).find(
    ({ sha256 }) => !status.artifacts?.some((each) => each.sha256 === sha256),
  );
  return other && `it has not the same ${other.format}`;
}

/** @returns the name of one there that is the same. @throws UserError when the name is another one's there, and would stay it */
async function sameThere(there: HttpClient, image: Image): Promise<string | undefined> {
  const { items } = await there.list(Image);
  const { name } = image.metadata;
  const own = items.find(({ metadata }) => metadata.name === name);
  const same = [...(own ? [own] : []), ...items].find((each) => otherwise(image, each) === undefined);
  const isBuilt = image.spec.recipe !== undefined && own?.spec.recipe !== undefined;
  if (!same && own?.status?.phase === "Ready" && !isBuilt)
    throw new UserError(
      `image/${name} is there already, and is another one: ${otherwise(image, own)}; delete it there first`,
    );
  return same?.metadata.name;
}

async function pushRecipe(
  paths: StatePaths,
  there: HttpClient,
  { name, storagePool, timeoutMs, signal }: PushOptions,
  print: Print,
): Promise<void> {
  const { recipe } = await lockedRecipe(paths, name);
  const archives = (recipe.archives ?? []).map(({ file }) => file);
  if (archives.length > 0)
    throw new UserError(
      `image/${name} has files of archives (${archives.join(", ")}), which its installation keeps to itself; build it there, beside them: vireo image lock ${name} prints what from`,
    );
  const build = await createBuild(there, name, { recipe, ...(storagePool ? { storagePool } : {}) });
  await followBuild(there, build, { timeoutMs, signal }, print);
}

async function pushDisk(
  paths: StatePaths,
  there: HttpClient,
  { name, storagePool, timeoutMs, signal }: PushOptions,
  print: Print,
): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), "vireo-push-"));
  try {
    const from = join(scratch, "disk");
    await exportImage(paths, name, { output: from, signal }, () => {});
    const pool = storagePool ? { storagePool } : {};
    await importTo(there, { name, from, ...pool, detach: false, timeoutMs, signal }, print);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
