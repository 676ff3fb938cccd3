/**
 * The image reconciler: has images with a recipe built (an ImageBuild each time, build-reconciler.ts), takes over what the newest successful build of the recipe made,
 * and inspects images that are files.
 */
import { join } from "node:path";
import { type Client, modify } from "../client/client.ts";
import { Controller } from "../reconcile/controller.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import { isApiError } from "../resource/errors.ts";
import { API_VERSION } from "../resource/kind.ts";
import { setCondition } from "../resource/object.ts";
import { exists } from "../system/exists.ts";
import { requestOf } from "../telemetry/request-id.ts";
import type { ImageContext } from "./context.ts";
import { runDistributionReconciler } from "./distribution-reconciler.ts";
import { inTurn } from "./garbage/lock.ts";
import { inspectImage } from "./inspect.ts";
import { Image, ImageBuild } from "./kinds.ts";
import { imagesFolder, POOLS } from "./pool.ts";
import { rebuildInMs } from "./rebuild.ts";
import { sameRecipe } from "./recipe.ts";
import { buildName, buildNumber, isBuildOver, nextNumber } from "./shared.ts";
import { comparePackages, toldChanges } from "./trust/differences.ts";
import { withVersion } from "./versions/kinds.ts";

type Status = NonNullable<Image["status"]>;
interface Ready {
  status: "True" | "False";
  reason: string;
  message: string;
}

/** A failed build is tried again after this long, or at once when the image's spec changes. */
const RETRY_MS = 300_000;
/** After somebody else was there first. */
const AGAIN_MS = 1000;
/** Builds of an image that are over and are kept, for their logs. */
const HISTORY = 10;
/** Of an image that is not there they are kept for so long. */
const FORGOTTEN_MS = 14 * 24 * 3600_000;

export async function runImageReconciler(context: ImageContext): Promise<void> {
  const { client, log, clock, signal } = context;
  const images = new Informer(client, Image, { log, clock });
  const builds = new Informer(client, ImageBuild, { log, clock });
  const events = new EventRecorder(client, "image-reconciler", log, clock);
  const controller = new Controller({
    name: "images",
    log,
    clock,
    reconcile: (name) => reconcile(context, events, name),
    requestOf: (name) => requestOf(images.get(name)),
  });
  images.onChange((name, image, old) => {
    if (image?.metadata.generation !== old?.metadata.generation) controller.enqueue(name);
  });
  builds.onChange((_name, build, old) => {
    const of = (build ?? old)?.spec.image;
    if (of !== undefined) controller.enqueue(of);
  });
  await Promise.all([
    images.run(signal),
    builds.run(signal),
    controller.run(signal),
    runDistributionReconciler(context),
  ]);
}

async function reconcile(
  context: ImageContext,
  events: EventRecorder,
  name: string,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { client, clock, log, pools = POOLS } = context;
  const image = await client.get(Image, { name });
  if (!image) return forgetBuilds(context, name);
  if (image.metadata.deletionTimestamp) return undefined;
  // What is brought along is the import reconciler's.
  if (image.spec.import) return forgetBuilds(context, name);
  const generation = image.metadata.generation ?? 0;
  const { phase, observedGeneration } = image.status ?? {};
  const settled = observedGeneration === generation;
  const about = { kind: "Image", name };

  const write = (change: Status, ready: Ready, made = false) =>
    modify(client, Image, { name }, "status", (current) => {
      const status: Status = present({
        ...current.status,
        ...change,
        ...(made ? withVersion(current.status, change, clock.now().toISOString()) : {}),
        observedGeneration: generation,
        conditions: setCondition(
          current.status?.conditions,
          { type: "Ready", ...ready, observedGeneration: generation },
          clock.now().toISOString(),
        ),
      });
      return JSON.stringify(status) === JSON.stringify(current.status) ? undefined : { ...current, status };
    });
  const working = (progress: string, build?: string) =>
    write(
      { phase: "Building", progress, ...(build ? { build } : {}) },
      { status: "False", reason: "Building", message: progress },
    );
  const isReady = async (result: Status) => {
    await write(
      { ...result, phase: "Ready", progress: "" },
      { status: "True", reason: "Ready", message: "can be used" },
      true,
    );
    events.record(about, "Normal", "Ready", `image ${name} is ready`);
  };
  const isFailed = async (message: string) => {
    await write({ phase: "Failed", progress: "" }, { status: "False", reason: "Failed", message });
    events.record(about, "Warning", "Failed", message);
  };

  const { recipe, file, storagePool } = image.spec;
  if (file !== undefined) {
    if (phase === "Ready" && settled) return forgetBuilds(context, name);
    try {
      const folder = await imagesFolder(client, storagePool, pools);
      await working("inspecting the file");
      await pools.whileAnswering(folder, context.signal, async (ended) => {
        const found = await inspectImage(folder, file, ended);
        await inTurn(folder, async () => {
          const isThere = await exists(join(folder, file));
          ended.throwIfAborted();
          if (!isThere) throw new Error(`${file}: there is no such file in ${folder} any more`);
          await isReady({ file, ...found });
        });
      });
      return undefined;
    } catch (error) {
      if (context.signal.aborted) return undefined; // whoever leads next looks at it
      log.warn("image.failed", { image: name, error });
      await isFailed(error instanceof Error ? error.message : String(error));
      return { requeueAfterMs: RETRY_MS };
    }
  }
  if (!recipe) {
    await isFailed("spec: neither recipe nor file is set");
    return undefined;
  }

  const { items } = await client.list(ImageBuild, { fieldSelector: `spec.image=${name}` });
  const builds = items
    .filter(({ metadata, spec }) => !metadata.deletionTimestamp && !spec.verify)
    .sort(newestFirst);
  const ours = builds.filter(
    ({ spec }) => sameRecipe(recipe, spec.recipe) && spec.storagePool === storagePool,
  );
  for (const build of builds)
    if (isOfImage(build, image) && !ours.includes(build) && !isBuildOver(build)) await cancel(client, build);
  const best = ours.find(({ status }) => status?.phase === "Succeeded");
  await keepNewest(
    client,
    items.filter((build) => build !== best),
  );

  if (best?.status) {
    const { file, format, virtualBytes, allocatedBytes, sha256, boot, packages, artifacts } = best.status;
    if (phase === "Ready" && settled && image.status?.build === best.metadata.name) {
      const inMs = rebuildInMs(image, ours, clock.now());
      if (inMs !== 0) return inMs === undefined ? undefined : { requeueAfterMs: inMs };
      await createBuild(client, name, { storagePool, recipe }, image).catch((error: unknown) => {
        if (!isApiError(error, "AlreadyExists")) throw error;
      });
      return undefined;
    }
    // What the one before had and this has not goes.
    const result = { file, format, virtualBytes, allocatedBytes, sha256, boot, packages, artifacts };
    const folder = await imagesFolder(client, storagePool, pools);
    const isThere = await pools.whileAnswering(folder, context.signal, (ended) =>
      inTurn(folder, async () => {
        const found = await exists(join(folder, file ?? ""));
        ended.throwIfAborted();
        if (found) await isReady({ ...result, build: best.metadata.name });
        return found;
      }),
    );
    if (isThere) {
      const changes = comparePackages(image.status?.packages ?? [], packages ?? []);
      if (image.status?.packages && changes.length > 0)
        events.record(about, "Normal", "PackagesChanged", `image ${name}: ${toldChanges(changes)}`);
      const inMs = rebuildInMs(image, ours, clock.now());
      return inMs === undefined ? undefined : { requeueAfterMs: Math.max(inMs, AGAIN_MS) };
    }
    // Of an earlier recipe, say: nothing needed its files any more. It is built again.
    await client.delete(ImageBuild, { name: best.metadata.name }).catch(ignoreGone);
    return { requeueAfterMs: AGAIN_MS };
  }
  // Of before there were ImageBuilds, or whose builds were deleted.
  if (phase === "Ready" && settled) return undefined;
  const [newest] = ours;
  if (newest && !isBuildOver(newest)) {
    await working(newest.status?.message ?? "waits for the builds before it", newest.metadata.name);
    return undefined;
  }
  if (newest) {
    const cancelled = newest.status?.phase === "Cancelled";
    const left = Date.parse(newest.status?.finishedTime ?? "") + RETRY_MS - clock.now().getTime();
    if (cancelled || left > 0) {
      await isFailed(
        cancelled
          ? `${newest.metadata.name} was cancelled; vireo image build builds it`
          : (newest.status?.message ?? ""),
      );
      return cancelled ? undefined : { requeueAfterMs: left };
    }
  }
  try {
    await createBuild(client, name, { storagePool, recipe }, image);
    return undefined;
  } catch (error) {
    // Somebody made one of this image at the same moment: it is seen in a moment.
    if (isApiError(error, "AlreadyExists")) return { requeueAfterMs: AGAIN_MS };
    if (!isApiError(error, "Invalid") && !isApiError(error, "Forbidden")) throw error;
    await isFailed(`no ImageBuild can be made of it: ${error.message}`);
    return { requeueAfterMs: RETRY_MS };
  }
}

/** Of a deleted image, one that no build has made yet, or that none can make: kept for their logs, for a while. */
async function forgetBuilds(
  { client, clock }: ImageContext,
  image: string,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { items } = await client.list(ImageBuild, { fieldSelector: `spec.image=${image}` });
  const left = await keepNewest(client, items);
  const leftMs = (build: ImageBuild) =>
    Date.parse(build.status?.finishedTime ?? "") + FORGOTTEN_MS - clock.now().getTime();
  for (const build of left.filter((each) => leftMs(each) <= 0)) await remove(client, build);
  const next = Math.min(...left.map(leftMs).filter((ms) => ms > 0));
  return Number.isFinite(next) ? { requeueAfterMs: next } : undefined;
}

/** Of those that are over the older ones go, verifications too. @returns those that are left */
async function keepNewest(client: Client, builds: readonly ImageBuild[]): Promise<ImageBuild[]> {
  const over = builds
    .filter((build) => isBuildOver(build) && !build.metadata.deletionTimestamp)
    .sort(newestFirst);
  for (const build of over.slice(HISTORY)) await remove(client, build);
  return over.slice(0, HISTORY);
}

const remove = (client: Client, { metadata: { name, uid } }: ImageBuild) =>
  client.delete(ImageBuild, { name }, uid ? { uid } : {}).catch(ignoreGone);

/** Without the fields that have no value. */
const present = (status: Status): Status =>
  Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined));

const ignoreGone = (error: unknown) => {
  if (!isApiError(error, "NotFound")) throw error;
};

const isOfImage = ({ metadata }: ImageBuild, image: Image) =>
  metadata.ownerReferences?.some(({ uid }) => uid === image.metadata.uid) ?? false;

const cancel = (client: Client, { metadata: { name } }: ImageBuild) =>
  modify(client, ImageBuild, { name }, "object", (now) =>
    now.spec.cancelled ? undefined : { ...now, spec: { ...now.spec, cancelled: true } },
  );

const newestFirst = (a: ImageBuild, b: ImageBuild) => {
  const [first, second] = [a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? ""];
  return first === second ? buildNumber(b) - buildNumber(a) : first < second ? 1 : -1;
};

/** How many names that others have taken are passed over. */
const TAKEN = 20;

/**
 * Makes the next build of an image. A name that something else has, a build of another image, say, is passed over.
 * @param owner it goes with this image. @throws ApiError AlreadyExists when somebody made one of this image at the same moment
 */
export async function createBuild(
  client: Client,
  image: string,
  spec: Omit<ImageBuild["spec"], "image" | "storagePool"> & { storagePool?: string },
  owner?: Image,
): Promise<ImageBuild> {
  const { items } = await client.list(ImageBuild, { fieldSelector: `spec.image=${image}` });
  const first = nextNumber(items);
  const ownerReferences = owner && [
    {
      apiVersion: API_VERSION,
      kind: "Image",
      name: image,
      uid: owner.metadata.uid ?? "",
      controller: true,
    },
  ];
  for (let number = first; ; number++) {
    const name = buildName(image, number);
    const metadata = { name, ...(ownerReferences ? { ownerReferences } : {}) };
    try {
      return await client.create(ImageBuild, { metadata, spec: { ...spec, image } });
    } catch (error) {
      if (!isApiError(error, "AlreadyExists") || number >= first + TAKEN) throw error;
      // One that cannot be read is another's.
      const there = await client.get(ImageBuild, { name }).catch(() => undefined);
      if (there?.spec.image === image) throw error;
    }
  }
}
