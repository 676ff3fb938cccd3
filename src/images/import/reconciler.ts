/**
 * The import reconciler: images that are brought along (spec.import).
 *
 *   waits for the upload, or is fetched ─► digest ─► unpacked ─► looked at, converted ─► under its name in the pool ─► Ready
 *
 * Until then all of it is in a folder of its own (received.ts). A control plane that is killed leaves that alone; the next one goes on with what has come, and
 * does the rest again: it is the same each time, and its name is of its content.
 */
import { chmod, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { modify } from "../../client/client.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import { setCondition } from "../../resource/object.ts";
import { sha256Of } from "../../system/digest.ts";
import { exists } from "../../system/exists.ts";
import { roomIn } from "../../system/room.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import { requireConfinement } from "../confine.ts";
import type { ImageContext } from "../context.ts";
import { inTurn } from "../garbage/lock.ts";
import { publish } from "../garbage/publish.ts";
import { Image } from "../kinds.ts";
import { imagesFolder, POOLS } from "../pool.ts";
import { withVersion } from "../versions/kinds.ts";
import { ContentError } from "./content.ts";
import { convert } from "./convert.ts";
import { download } from "./download.ts";
import { isFar } from "./origin.ts";
import { LOOK_MS } from "./parts.ts";
import { importFolder, receivedBytes, receivedFile, removeStaleImports } from "./received.ts";
import { tooLarge, withRoom } from "./room.ts";
import { unpack } from "./unpack.ts";

type Status = NonNullable<Image["status"]>;

/** A URL that cannot be fetched is tried again after this long. */
const RETRY_MS = 30_000;
/** How often the progress is told. */
const TELL_MS = 1000;

/** @param mayAsk whether a server of this address may be asked for a file */
export async function runImportReconciler(
  context: ImageContext,
  mayAsk: (address: string) => boolean = isFar,
): Promise<void> {
  const { client, log, clock, signal } = context;
  const images = new Informer(client, Image, { log, clock });
  const events = new EventRecorder(client, "import-reconciler", log, clock);
  const running = new Map<string, AbortController>();
  const controller = new Controller({
    name: "imports",
    log,
    clock,
    // Each may read and write as fast as the disk can.
    workers: 2,
    reconcile: async (name) => {
      const gone = new AbortController();
      running.set(name, gone);
      try {
        const either = AbortSignal.any([signal, gone.signal]);
        return await new Importing(context, events, either, mayAsk).reconcile(name);
      } finally {
        running.delete(name);
      }
    },
    requestOf: (name) => requestOf(images.get(name)),
  });
  images.onChange((name, image, old) => {
    if (!(image ?? old)?.spec.import) return;
    if (!image || image.metadata.deletionTimestamp || image.metadata.uid !== (old ?? image).metadata.uid)
      running.get(name)?.abort();
    if (image?.metadata.generation !== old?.metadata.generation) controller.enqueue(name);
  });
  await removeLeftovers(context).catch((error: unknown) => log.warn("imports.leftovers", { error }));
  await Promise.all([images.run(signal), controller.run(signal)]);
}

/** Of imports whose images are gone, or done with. */
async function removeLeftovers({ client, log, pools = POOLS }: ImageContext): Promise<void> {
  const coming = async () => {
    const { items, skipped } = await client.list(Image);
    if (skipped.length > 0) return undefined;
    return items.filter(({ spec, status }) => spec.import && status?.phase !== "Ready");
  };
  for (const pool of (await client.list(StoragePool)).items)
    await pools
      .folderOf(pool)
      .then((images) => removeStaleImports(images, coming))
      .catch((error: unknown) => log.warn("imports.leftovers", { pool: pool.metadata.name, error }));
}

class Importing {
  readonly #context: ImageContext;
  readonly #events: EventRecorder;
  /** Aborted when the image is deleted, or this control plane leads no more. */
  readonly #signal: AbortSignal;

  readonly #mayAsk: (address: string) => boolean;

  constructor(
    context: ImageContext,
    events: EventRecorder,
    signal: AbortSignal,
    mayAsk: (address: string) => boolean,
  ) {
    this.#mayAsk = mayAsk;
    this.#context = context;
    this.#events = events;
    this.#signal = signal;
  }

  async reconcile(name: string): Promise<{ requeueAfterMs: number } | undefined> {
    const { client, log, pools = POOLS } = this.#context;
    const image = await client.get(Image, { name });
    if (!image || image.metadata.deletionTimestamp) {
      await removeLeftovers(this.#context);
      return undefined;
    }
    const { status } = image;
    if (!image.spec.import) return undefined;
    // What is brought along never changes: it is brought once, whatever else of the spec does.
    if (status?.phase === "Ready" || status?.phase === "Failed") {
      const observedGeneration = image.metadata.generation ?? 0;
      await modify(client, Image, { name }, "status", (now) =>
        now.status?.observedGeneration === observedGeneration || now.metadata.uid !== image.metadata.uid
          ? undefined
          : { ...now, status: { ...now.status, observedGeneration } },
      );
      return undefined;
    }
    try {
      const folder = await imagesFolder(client, image.spec.storagePool, pools);
      return await pools.whileAnswering(folder, this.#signal, async (ended) => {
        await mkdir(folder, { recursive: true, mode: 0o755 });
        return this.#bring(image, folder, ended);
      });
    } catch (error) {
      if (this.#signal.aborted) {
        await this.#ifDeleted(image);
        return undefined;
      }
      const message = error instanceof Error ? error.message : String(error);
      log.warn("import.failed", { image: name, error });
      if (error instanceof ContentError) {
        await removeLeftoversOf(this.#context, image);
        await this.#write(image, { phase: "Failed", progress: "" }, "Failed", `the file ${message}`);
        this.#events.record({ kind: "Image", name }, "Warning", "Failed", `the file ${message}`);
        return undefined;
      }
      await this.#write(
        image,
        { phase: "Pending", progress: `${message}; it is tried again` },
        "Retrying",
        message,
      );
      return { requeueAfterMs: RETRY_MS };
    }
  }

  async #ifDeleted(image: Image): Promise<void> {
    if (this.#context.signal.aborted) return;
    const now = await this.#context.client.get(Image, { name: image.metadata.name });
    if (now?.metadata.uid !== image.metadata.uid) await removeLeftoversOf(this.#context, image);
  }

  async #bring(
    image: Image,
    folder: string,
    ended: AbortSignal,
  ): Promise<{ requeueAfterMs: number } | undefined> {
    const { name } = image.metadata;
    const { sha256, url, bytes } = image.spec.import ?? { sha256: "" };
    const mayAsk = this.#mayAsk;
    const work = importFolder(folder, image);
    const received = receivedFile(folder, image);
    const here = await receivedBytes(folder, image);
    if (url === undefined) {
      if (here < (bytes ?? 0)) {
        const room = await roomIn(folder);
        if (here === 0 && (bytes ?? 0) > room) throw tooLarge("is larger", room);
        await this.#working(image, "waits for the upload", here, bytes);
        return { requeueAfterMs: LOOK_MS };
      }
    } else {
      let told = Number.NEGATIVE_INFINITY;
      const progress = async (at: number, total: number | undefined) => {
        if (performance.now() - told < TELL_MS) return;
        told = performance.now();
        await this.#working(image, "fetching", at, total ?? bytes);
      };
      await withRoom(folder, ended, (room, signal) =>
        download({ url, to: received, from: here, maxBytes: room + here, signal, progress, mayAsk }),
      );
    }
    const size = await receivedBytes(folder, image);
    await this.#working(image, "comparing the sha256", size, size);
    const came = await sha256Of(received, ended);
    if (came !== sha256)
      throw new ContentError(
        // What a server has said that only the control plane reaches is nobody's business: not even its digest.
        `that came has ${url === undefined ? `the sha256 ${came}` : "another sha256"}, spec.import.sha256 says ${sha256}; delete the image, and import the right file`,
      );
    // What an earlier attempt has made.
    for (const file of await readdir(work))
      if (file !== "received") await rm(join(work, file), { recursive: true, force: true });
    await requireConfinement(work);
    await this.#working(image, "unpacking", size, size);
    const { path, ...made } = await withRoom(folder, ended, async (room, signal) => {
      const unpacked = await unpack(received, work, room, signal);
      await this.#working(image, `converting ${unpacked.content.disk}`, size, size);
      return convert(unpacked, work, room, signal);
    });
    const base = `${name}-${made.sha256.slice(0, 12)}`;
    const file = `${base}.${made.format === "qcow2" ? "qcow2" : "iso"}`;
    const result = { file, ...made };
    await chmod(path, 0o444);
    ended.throwIfAborted();
    await writeFile(join(work, "json"), JSON.stringify(result));
    await inTurn(folder, async () => {
      // The same bytes under the same name: what is there already is not touched, a machine may be on it.
      const files = (await exists(join(folder, file))) ? {} : { [file]: path };
      ended.throwIfAborted();
      await publish(folder, base, { description: join(work, "json"), files });
      const time = this.#context.clock.now().toISOString();
      const ready = {
        ...result,
        phase: "Ready" as const,
        progress: "",
        ...withVersion(undefined, result, time),
      };
      await this.#write(image, ready, "Ready", "can be used");
    });
    this.#events.record({ kind: "Image", name }, "Normal", "Ready", `image ${name} is ready`);
    await rm(work, { recursive: true, force: true });
    return undefined;
  }

  #working(image: Image, what: string, received: number, total: number | undefined): Promise<unknown> {
    const percent = total ? ` (${Math.floor((received / total) * 100)} %)` : "";
    const progress = `${what}${received === total ? "" : percent}`;
    const totals = total === undefined ? {} : { totalBytes: total };
    const status = { phase: "Building" as const, progress, import: { receivedBytes: received, ...totals } };
    return this.#write(image, status, "Importing", progress);
  }

  #write(image: Image, change: Status, reason: string, message: string): Promise<unknown> {
    const { client, clock } = this.#context;
    const { name, uid, generation = 0 } = image.metadata;
    return modify(client, Image, { name }, "status", (now) => {
      if (now.metadata.uid !== uid) return undefined;
      const condition = {
        type: "Ready",
        status: reason === "Ready" ? ("True" as const) : ("False" as const),
        reason,
        message,
        observedGeneration: generation,
      };
      const status: Status = {
        ...now.status,
        ...change,
        observedGeneration: generation,
        conditions: setCondition(now.status?.conditions, condition, clock.now().toISOString()),
      };
      return JSON.stringify(status) === JSON.stringify(now.status) ? undefined : { ...now, status };
    });
  }
}

async function removeLeftoversOf({ client, pools }: ImageContext, image: Image): Promise<void> {
  const folder = await imagesFolder(client, image.spec.storagePool, pools).catch(() => undefined);
  if (folder) await rm(importFolder(folder, image), { recursive: true, force: true });
}
