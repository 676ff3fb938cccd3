/**
 * The build reconciler: carries ImageBuilds out, one at a time (a build takes the whole machine), in the order they were asked for, but for those that wait for
 * archives: others go before them, and one that a later build of its image has overtaken ends. A build that was under way when the control plane ended begins again; what is left of the
 * earlier attempt is removed first.
 */
import { type Client, modify } from "../client/client.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { Controller } from "../reconcile/controller.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import { isApiError } from "../resource/errors.ts";
import { setCondition } from "../resource/object.ts";
import { requestOf } from "../telemetry/request-id.ts";
import { archivesFolder } from "./archives/store.ts";
import { awaitArchives, type Wait } from "./archives/waiting.ts";
import { type BuildOptions, buildImage, STAGES, type Stage } from "./build/builder.ts";
import { estimate, type FinishedStage, keepStageSeconds, stageSeconds } from "./build/estimate.ts";
import { BuildLog, removeLog, removeLostLogs } from "./build-log.ts";
import type { ImageContext } from "./context.ts";
import { removeStaleBuilds } from "./garbage/stale-builds.ts";
import { LOOK_MS } from "./import/parts.ts";
import { type BuiltImage, Image, ImageBuild } from "./kinds.ts";
import { prunePackages } from "./packages/prune.ts";
import { imagesFolder, POOLS } from "./pool.ts";
import { sameRecipe } from "./recipe.ts";
import { isBuildOver } from "./shared.ts";
import type { Signer } from "./trust/signature.ts";
import { verifyImage } from "./verify.ts";

export interface BuildContext extends ImageContext {
  /** Keeps downloaded packages, and what was made of them. */
  cache: string;
  /** Of the installation. */
  signer: Signer;
}

type Status = NonNullable<ImageBuild["status"]>;

export async function runBuildReconciler(context: BuildContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const builds = new Informer(client, ImageBuild, { log, clock });
  const events = new EventRecorder(client, "build-reconciler", log, clock);
  const running = new Map<string, AbortController>();
  const controller = new Controller({
    name: "imagebuilds",
    // A build takes the whole machine.
    workers: 1,
    log,
    clock,
    reconcile: async (name) => {
      const cancel = new AbortController();
      running.set(name, cancel);
      try {
        return await reconcile(context, events, name, AbortSignal.any([signal, cancel.signal]));
      } finally {
        running.delete(name);
      }
    },
    requestOf: (name) => requestOf(builds.get(name)),
  });
  builds.onChange((name, build, old) => {
    if (!build || build.metadata.deletionTimestamp || build.spec.cancelled) running.get(name)?.abort();
    if (!build && old) void forget(context, old);
    if (build && !isBuildOver(build)) controller.enqueue(name);
  });
  // Not waited for: a pool may not answer.
  void removeLost(context).catch((error: unknown) => log.warn("builds.logs", { error }));
  await Promise.all([builds.run(signal), controller.run(signal)]);
}

/** A deleted build's log goes with it; where that cannot be, when a control plane starts. */
async function forget({ client, log, pools }: BuildContext, build: ImageBuild): Promise<void> {
  await imagesFolder(client, build.spec.storagePool, pools)
    .then((images) => removeLog(images, build))
    .catch((error: unknown) => log.info("builds.log", { build: build.metadata.name, error }));
}

async function removeLost({ client, log, pools = POOLS }: BuildContext): Promise<void> {
  const builds = async () => {
    const { items, skipped } = await client.list(ImageBuild);
    return skipped.length > 0 ? undefined : items;
  };
  for (const pool of (await client.list(StoragePool)).items)
    await pools
      .folderOf(pool)
      .then((images) => removeLostLogs(images, builds))
      .catch((error: unknown) => log.warn("builds.logs", { pool: pool.metadata.name, error }));
}

async function reconcile(
  context: BuildContext,
  events: EventRecorder,
  name: string,
  cancelled: AbortSignal,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { client, clock, log, cache, pools = POOLS } = context;
  const build = await client.get(ImageBuild, { name });
  if (!build || build.metadata.deletionTimestamp || isBuildOver(build)) return undefined;
  const about = { kind: "ImageBuild", name };
  const write = (change: (now: Status) => Status) =>
    modify(client, ImageBuild, { name }, "status", (now) =>
      now.metadata.uid !== build.metadata.uid || isBuildOver(now)
        ? undefined
        : { ...now, status: change(now.status ?? {}) },
    );
  let buildLog: BuildLog | undefined;
  const finish = async (phase: "Succeeded" | "Failed" | "Cancelled", message: string, more: Status = {}) => {
    // Who hears that it is over finds all of it.
    await buildLog?.end();
    const now = clock.now().toISOString();
    const succeeded = phase === "Succeeded";
    const condition = {
      type: "Complete",
      status: succeeded ? ("True" as const) : ("False" as const),
      reason: phase,
      message,
      observedGeneration: build.metadata.generation ?? 0,
    };
    return write(({ secondsLeft: _, ...status }) => ({
      ...status,
      ...more,
      phase,
      message,
      ...(succeeded ? { percent: 100 } : {}),
      finishedTime: now,
      conditions: setCondition(status.conditions, condition, now),
    }));
  };
  if (build.spec.cancelled) {
    await finish("Cancelled", "was cancelled before it began");
    return undefined;
  }
  if (build.spec.recipe.archives?.length) {
    const wait = await archivesToCome(context, build, cancelled);
    // Cancelled while it looked, or whoever leads next goes on.
    if (cancelled.aborted) return context.signal.aborted ? undefined : { requeueAfterMs: LOOK_MS };
    if (wait && "failed" in wait) {
      await finish("Failed", wait.failed);
      return undefined;
    }
    if (wait) {
      if (build.status?.message !== wait.waits)
        await write((status) => ({ ...status, phase: "Pending", message: wait.waits }));
      return { requeueAfterMs: LOOK_MS };
    }
    const later = await overtakenBy(client, build);
    if (later) {
      const text = `image/${build.spec.image} was built by imagebuild/${later.metadata.name} meanwhile, which was asked for later`;
      await finish("Cancelled", text);
      return undefined;
    }
  }

  const say = (line: string) => buildLog?.say(line);
  const { image, storagePool, recipe } = build.spec;
  const stages: FinishedStage[] = [];
  let current: { stage: Stage; begin: number } | undefined;
  const endStage = () => {
    if (!current) return;
    const seconds = Math.round((performance.now() - current.begin) / 10) / 100;
    stages.push({ name: current.stage, seconds });
    say(`${current.stage}: ${seconds} s`);
    current = undefined;
  };
  try {
    const folder = await imagesFolder(client, storagePool, pools);
    // Begun anew, as the build is.
    buildLog = await pools.whileAnswering(folder, cancelled, () =>
      BuildLog.begin(folder, build, {
        now: () => clock.now(),
        failed: (error) => log.warn("build.log", { build: name, error }),
      }),
    );
    const before = await client.get(Image, { name: image });
    if (before && before.spec.storagePool !== storagePool)
      throw new Error(
        `spec.storagePool: image/${image} is in the pool ${before.spec.storagePool}, where it stays; name that pool, or another image`,
      );
    if (before?.spec.file || before?.spec.import)
      throw new Error(`spec.image: image/${image} is a file that was brought along; name another image`);
    const known = await stageSeconds(cache, recipe.mode);
    const planned = STAGES.filter((stage) => stage !== "formats" || recipe.formats?.length);
    await pools.whileAnswering(folder, cancelled, () => removeStaleBuilds(folder));
    log.info("image.build", { image, build: name });
    const startedTime = clock.now().toISOString();
    const options: Omit<BuildOptions, "signal"> = {
      name: image,
      recipe,
      folder,
      cache,
      signer: context.signer,
      log: say,
      progress: async (stage, message) => {
        endStage();
        current = { stage, begin: performance.now() };
        const { secondsLeft, percent } = estimate(known, stage, planned);
        await write(({ secondsLeft: _, ...status }) => ({
          ...status,
          phase: "Building",
          message,
          percent,
          ...(secondsLeft === undefined ? {} : { secondsLeft }),
          stages: [...stages],
          startedTime: status.startedTime ?? startedTime,
        }));
      },
    };
    if (build.spec.verify) {
      if (before?.status?.phase !== "Ready")
        throw new Error(`spec.image: there is no image ${image} that is ready`);
      const { status } = before;
      const count = await pools.whileAnswering(folder, cancelled, (signal) =>
        verifyImage({ ...options, signal }, status),
      );
      endStage();
      const text = `image ${image} is signed by this installation and is what its packages make of its recipe: ${count} files built again are the same, bit for bit`;
      say(text);
      await finish("Succeeded", text, { stages });
      events.record(about, "Normal", "Verified", text);
      return undefined;
    }
    const result = await pools.whileAnswering(folder, cancelled, (signal) =>
      buildImage({ ...options, signal }),
    );
    endStage();
    if (stages.length > 1) await keepStageSeconds(cache, stages, recipe.mode);
    requireExpected(build, result);
    await giveRecipe(client, build, before);
    const text = told(result, stages);
    say(text);
    await finish("Succeeded", text, { ...result, stages });
    events.record(about, "Normal", "Succeeded", `image ${image}: ${text}`);
    return undefined;
  } catch (error) {
    endStage();
    if (context.signal.aborted) return undefined; // whoever leads next begins it again
    if (cancelled.aborted) {
      say("cancelled");
      await finish("Cancelled", "was cancelled", { stages });
      log.info("image.cancelled", { image, build: name });
      return undefined;
    }
    const message = error instanceof Error ? error.message : String(error);
    say(`failed: ${message}`);
    log.warn("image.failed", { image, build: name, error });
    await finish("Failed", message, { stages });
    events.record(about, "Warning", "Failed", `image ${image}: ${message}`);
    return undefined;
  } finally {
    await buildLog?.end();
    await pruneDownloads(context).catch((error: unknown) => log.warn("builds.downloads", { error }));
  }
}

/** When packages of an image are not known, all stay. */
async function pruneDownloads({ client, clock, log, cache }: BuildContext): Promise<void> {
  const { items, skipped } = await client.list(Image);
  if (skipped.length > 0) return;
  const needed = items.flatMap(({ spec, status }) => [
    ...(status?.packages ?? []),
    ...(spec.recipe?.lock ?? []),
  ]);
  const removed = await prunePackages(cache, needed, clock.now().getTime());
  if (removed.length > 0) log.info("builds.downloads.removed", { files: removed.join(" ") });
}

/** @returns undefined when all is there, or `signal` ended it. @throws Error of the file system */
async function archivesToCome(
  { client, clock, pools = POOLS }: BuildContext,
  build: ImageBuild,
  signal: AbortSignal,
): Promise<Wait | undefined> {
  // A pool that is not there, or does not answer, is told of by the build.
  const images = await imagesFolder(client, build.spec.storagePool, pools).catch(() => undefined);
  if (images === undefined) return undefined;
  return pools
    .whileAnswering(images, signal, (ended) =>
      awaitArchives(archivesFolder(images), build, clock.now().getTime(), ended),
    )
    .catch((error: unknown) => {
      if (!signal.aborted && !isApiError(error, "ServiceUnavailable")) throw error;
      return undefined;
    });
}

/** A build that was asked for later and has made the image while this one waited: what this one makes would be the older recipe. */
async function overtakenBy(client: Client, { metadata, spec }: ImageBuild): Promise<ImageBuild | undefined> {
  if (spec.verify) return undefined;
  const { items } = await client.list(ImageBuild, { fieldSelector: `spec.image=${spec.image}` });
  const createdMs = Date.parse(metadata.creationTimestamp ?? "");
  return items.find(
    (each) =>
      !each.spec.verify &&
      each.status?.phase === "Succeeded" &&
      Date.parse(each.metadata.creationTimestamp ?? "") > createdMs,
  );
}

const told = ({ file, allocatedBytes = 0, packages = [] }: BuiltImage, stages: readonly FinishedStage[]) =>
  `${file}: ${(allocatedBytes / 2 ** 20).toFixed(1)} MiB, ${packages.length} packages, ${stages.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(1)} s`;

/** @throws Error when it is another image than who asked for it knows */
function requireExpected({ spec }: ImageBuild, { file, sha256 }: BuiltImage): void {
  const { expected } = spec;
  if (!expected || (expected.file === file && expected.sha256 === sha256)) return;
  throw new Error(
    `spec.expected: it became ${file} with the sha256 ${sha256}, and ${expected.file} with ${expected.sha256} is expected; versions of Vireo may build otherwise. image/${spec.image} stays what it was`,
  );
}

/** The image is made, or has the recipe from now on. A build that an image itself asked for changes nothing: its recipe is from there. */
async function giveRecipe(client: Client, build: ImageBuild, before: Image | undefined): Promise<void> {
  const { image: name, storagePool, recipe } = build.spec;
  if (build.metadata.ownerReferences?.some(({ kind }) => kind === "Image")) return;
  if (!before) {
    try {
      await client.create(Image, { metadata: { name }, spec: { storagePool, recipe } });
      return;
    } catch (error) {
      if (!isApiError(error, "AlreadyExists")) throw error;
    }
  }
  const now = await client.get(Image, { name });
  if (now && sameRecipe(recipe, now.spec.recipe)) return;
  if (now?.metadata.generation !== before?.metadata.generation)
    throw new Error(
      `spec.image: image/${name} was changed while this build of it ran; build again if it should get this recipe`,
    );
  await modify(client, Image, { name }, "object", (current) => ({
    ...current,
    spec: { ...current.spec, recipe },
  }));
}
