/**
 * `vireo image push`: an image comes to another installation by its content. What is there already, by its sha256, is not sent. An image of a recipe is built there of the very packages
 * that it was built of here, and has to become the same, bit for bit; archives that its recipe names are sent. Of any other image its disk is sent. What is sent comes from the one API and goes to
 * the other in parts, and goes on where it was broken off.
 */
import { isDeepStrictEqual } from "node:util";
import type { HttpClient } from "../client/http.ts";
import { Image, ImageBuild } from "../images/kinds.ts";
import { FORMATS, sameRecipe } from "../images/recipe.ts";
import { createBuild } from "../images/reconciler.ts";
import { isBuildOver } from "../images/shared.ts";
import { isApiError } from "../resource/errors.ts";
import { connect, connectTo } from "./connect.ts";
import { locked } from "./image.ts";
import { sendArchive } from "./image-archives.ts";
import { followBuild } from "./image-build.ts";
import { importTo } from "./image-import.ts";
import { missing } from "./missing.ts";
import type { Place } from "./resources.ts";
import { remoteFile } from "./send-file.ts";
import { Stopped, stoppedBy } from "./stop-signal.ts";
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

const THERE = " in that installation";

const fileOf = ({ metadata }: Image) => `/apis/vireo.dev/v1/images/${encodeURIComponent(metadata.name)}/file`;

/** Broken off, the same command goes on. @throws UserError */
export async function pushImage(place: Place, options: PushOptions, print: Print): Promise<void> {
  const { name, to } = options;
  const here = connectTo(place);
  const image = await here.get(Image, { name });
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
    await (image.spec.recipe ? pushRecipe : pushDisk)(here, there, image, options, print);
    const other = otherwise(image, await there.get(Image, { name }));
    if (other)
      throw new UserError(
        `image/${name} is another one there: ${other}; the two installations may be of different versions of Vireo`,
      );
    const formats = formatsOf(image).map(({ format }) => format);
    print(
      `image/${name} is there, the same disk${formats.map((each) => `, ${each}`).join("")}: sha256 ${sha256}`,
    );
  } catch (error) {
    const { signal } = options;
    const isTold = error instanceof Stopped && error !== signal.reason;
    if (signal.aborted && !isTold)
      throw stoppedBy(signal, `image/${name}: stopped; the same command goes on`);
    if (isApiError(error)) throw new UserError(`image/${name}: ${error.message}`);
    throw error;
  } finally {
    here.close();
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
  here: HttpClient,
  there: HttpClient,
  image: Image,
  options: PushOptions,
  print: Print,
): Promise<void> {
  const { timeoutMs, signal } = options;
  const { file = "", sha256 = "" } = image.status ?? {};
  const build = await buildThere(there, { recipe: locked(image), expected: { file, sha256 } }, options);
  const { name } = build.metadata;
  for (const archive of build.spec.recipe.archives ?? []) {
    const source = await remoteFile(here, `${fileOf(image)}?archive=${archive.sha256}`, signal);
    await sendArchive(there, build, { archive, source }, signal, print);
    if (signal.aborted)
      throw stoppedBy(
        signal,
        `imagebuild/${name}: stopped; the same command goes on within an hour, vireo image cancel ${name}${THERE} ends it`,
      );
  }
  await followBuild(there, build, { timeoutMs, signal, where: THERE }, print);
}

/** The one that is under way, of which this command was broken off, or a new one. */
async function buildThere(
  there: HttpClient,
  spec: Pick<ImageBuild["spec"], "recipe" | "expected">,
  { name, storagePool }: PushOptions,
): Promise<ImageBuild> {
  const { items } = await there.list(ImageBuild, { fieldSelector: `spec.image=${name}` });
  const own = items.find(
    (build) =>
      !isBuildOver(build) &&
      !build.spec.verify &&
      !build.spec.cancelled &&
      sameRecipe(spec.recipe, build.spec.recipe) &&
      isDeepStrictEqual(spec.expected, build.spec.expected) &&
      (storagePool ?? build.spec.storagePool) === build.spec.storagePool,
  );
  return own ?? createBuild(there, name, { ...spec, ...(storagePool ? { storagePool } : {}) });
}

/** From there to there: nothing of it is kept here. */
async function pushDisk(
  here: HttpClient,
  there: HttpClient,
  image: Image,
  { name, storagePool, timeoutMs, signal }: PushOptions,
  print: Print,
): Promise<void> {
  const source = await remoteFile(here, fileOf(image), signal);
  const spec = { bytes: source.totalBytes, sha256: image.status?.sha256 ?? "" };
  const pool = storagePool ? { storagePool } : {};
  const brought = { name, spec, source, where: THERE, ...pool, detach: false };
  await importTo(there, { ...brought, timeoutMs, signal }, print);
}
