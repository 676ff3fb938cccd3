/** The image reconciler: builds images with a recipe, inspects images that are files. One at a time: a build takes the whole machine. */
import { join } from "node:path";
import { type Client, modify } from "../client/client.ts";
import { StoragePool } from "../compute/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import { Controller } from "../reconcile/controller.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { setCondition } from "../resource/object.ts";
import { requestOf } from "../telemetry/request-id.ts";
import { buildImage, recipeDigest, removeStaleBuilds } from "./builder.ts";
import { inspectImage } from "./inspect.ts";
import { Image } from "./kinds.ts";

export interface ImageContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Keeps downloaded packages. */
  cache: string;
}

type Status = NonNullable<Image["status"]>;

/** A failed build is tried again after this long, or at once when the image's spec changes. */
const RETRY_MS = 300_000;

export async function runImageReconciler(context: ImageContext): Promise<void> {
  const { client, log, signal } = context;
  const images = new Informer(client, Image, { log });
  const events = new EventRecorder(client, "image-reconciler", log, context.clock);
  const builds = new Map<string, AbortController>();
  const controller = new Controller({
    name: "images",
    // A build takes the whole machine, and apt's folders bear one at a time.
    workers: 1,
    log,
    reconcile: async (name) => {
      const cancel = new AbortController();
      builds.set(name, cancel);
      try {
        return await reconcile(context, events, name, AbortSignal.any([signal, cancel.signal]));
      } finally {
        builds.delete(name);
      }
    },
    requestOf: (name) => requestOf(images.get(name)),
  });
  images.onChange((name, image, old) => {
    // What is being built is not wanted any more: deleted, or asked for anew.
    if (image?.metadata.generation !== old?.metadata.generation || image?.metadata.deletionTimestamp)
      builds.get(name)?.abort();
    if (image?.metadata.generation !== old?.metadata.generation) controller.enqueue(name);
  });
  await Promise.all([images.run(signal), controller.run(signal)]);
}

async function reconcile(
  context: ImageContext,
  events: EventRecorder,
  name: string,
  cancelled: AbortSignal,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { client, clock, log } = context;
  const image = await client.get(Image, { name });
  if (!image || image.metadata.deletionTimestamp) return undefined;
  const generation = image.metadata.generation ?? 0;
  const { phase, observedGeneration, file } = image.status ?? {};
  if (phase === "Ready" && observedGeneration === generation) return undefined;
  const { recipe, storagePool } = image.spec;

  const write = (
    change: Partial<Status>,
    ready: { status: "True" | "False"; reason: string; message: string },
  ) =>
    modify(client, Image, { name }, "status", (current) => ({
      ...current,
      status: {
        ...current.status,
        ...change,
        observedGeneration: generation,
        conditions: setCondition(
          current.status?.conditions,
          { type: "Ready", ...ready, observedGeneration: generation },
          clock.now().toISOString(),
        ),
      },
    }));
  const working = (progress: string) =>
    write({ phase: "Building", progress }, { status: "False", reason: "Building", message: progress });

  try {
    const pool = await client.get(StoragePool, { name: storagePool });
    if (!pool) throw new Error(`spec.storagePool: there is no StoragePool ${storagePool}`);
    const folder = join(pool.spec.directory.path, "images");
    let result: Partial<Status>;
    if (recipe) {
      if (phase === "Ready" && file?.includes(recipeDigest(recipe))) result = {};
      else {
        await removeStaleBuilds(folder);
        log.info("image.build", { image: name });
        result = await buildImage({
          name,
          recipe,
          folder,
          cache: context.cache,
          signal: cancelled,
          progress: async (stage) => void (await working(stage)),
        });
      }
    } else if (image.spec.file) {
      await working("inspecting the file");
      result = { file: image.spec.file, ...(await inspectImage(folder, image.spec.file)) };
    } else throw new Error("spec: neither recipe nor file is set");
    await write(
      { ...result, phase: "Ready", progress: "" },
      { status: "True", reason: "Ready", message: "can be used" },
    );
    events.record({ kind: "Image", name }, "Normal", "Ready", `image ${name} is ready`);
    return undefined;
  } catch (error) {
    if (cancelled.aborted) {
      log.info("image.cancelled", { image: name });
      return undefined;
    }
    const message = error instanceof Error ? error.message : String(error);
    log.warn("image.failed", { image: name, error });
    await write({ phase: "Failed", progress: "" }, { status: "False", reason: "Failed", message });
    events.record({ kind: "Image", name }, "Warning", "Failed", message);
    return { requeueAfterMs: RETRY_MS };
  }
}
