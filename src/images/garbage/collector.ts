/**
 * The collector of old image files: a version that nothing names goes from its image, and its files from the pool once no machine's disk is made on them.
 *
 *   in status.versions ─► not kept any more: gone from there, no new disk is made on it ─► a while later, no disk is on it, twice ─► removed
 *
 * It takes nothing on trust: each pass reads the store and the disks anew, and what it cannot see or read ends it. Only files that builds and imports have made
 * are looked at. Images' files get their names and lose them one at a time (the lock), so nothing becomes an image's while it is being removed.
 */
import { join } from "node:path";
import { modify } from "../../client/client.ts";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { isApiError } from "../../resource/errors.ts";
import type { Kind } from "../../resource/kind.ts";
import type { Resource } from "../../resource/object.ts";
import { removeUnnamed } from "../archives/store.ts";
import type { ImageContext } from "../context.ts";
import { Image, ImageBuild } from "../kinds.ts";
import { POOLS } from "../pool.ts";
import { isBuildOver } from "../shared.ts";
import { keptVersions, parseReference } from "../versions/kinds.ts";
import { inTurn } from "./lock.ts";
import { type Made, madeIn, removeMade } from "./removal.ts";
import { removeStaleBuilds } from "./stale-builds.ts";
import { NotSeen, usedFiles } from "./used-files.ts";

export interface CollectorOptions {
  /** How often it looks. */
  everyMs: number;
  /**
   * For how long a file has to be unnamed, and how long after one look at all disks the next one is: longer than anybody takes between reading an image, or a machine
   * that is cloned, and making a disk on it.
   */
  graceMs: number;
  /** How often disks are read again for files that were in use: there may be very many disks. */
  scanMs: number;
  /** Before each change of a removal: tests are killed there. */
  step?: () => void;
}

const OPTIONS: CollectorOptions = { everyMs: 60_000, graceMs: 900_000, scanMs: 3600_000 };

export async function runImageCollector(
  context: ImageContext,
  options: Partial<CollectorOptions> = {},
): Promise<void> {
  const { clock, log, signal } = context;
  const collector = new ImageCollector(context, { ...OPTIONS, ...options });
  while (!signal.aborted) {
    await clock.sleep(options.everyMs ?? OPTIONS.everyMs, signal);
    if (!signal.aborted)
      await collector.pass().catch((error: unknown) => log.warn("images.collector", { error }));
  }
}

interface Due {
  folder: string;
  made: Made;
}
const keyOf = ({ folder, made }: Due) => join(folder, made.base);

/** What there is, and where. */
interface Library {
  images: Image[];
  builds: ImageBuild[];
  pools: StoragePool[];
}

export class ImageCollector {
  readonly #context: ImageContext;
  readonly #options: CollectorOptions;
  readonly #events: EventRecorder;
  /** Since when each file's description is there and nobody wants it, as this control plane knows. */
  readonly #unwanted = new Map<string, number>();
  /** When all disks were looked at last, what for, and what of that no disk was made on. */
  #looked = { ms: Number.NEGATIVE_INFINITY, bases: new Set<string>(), unused: new Set<string>() };
  #told = "";

  constructor(context: ImageContext, options: CollectorOptions) {
    this.#context = context;
    this.#options = options;
    this.#events = new EventRecorder(context.client, "image-collector", context.log, context.clock);
  }

  /** @returns the names of removed files */
  async pass(): Promise<string[]> {
    for (const image of (await this.#library())?.images ?? []) await this.#retire(image);
    const seen = await this.#library();
    if (!seen) return [];
    const { signal, pools = POOLS } = this.#context;
    try {
      const folders = await Promise.all(seen.pools.map((pool) => pools.folderOf(pool)));
      return await pools.whileAllAnswer(folders, signal, (ended) => this.#collect(seen, folders, ended));
    } catch (error) {
      if (!isApiError(error, "ServiceUnavailable")) throw error;
      this.#keep(error.message);
      return [];
    }
  }

  /** @param signal ends it, also when a pool does not answer any more: another pass may be under way by then */
  async #collect(seen: Library, folders: readonly string[], signal: AbortSignal): Promise<string[]> {
    const wanted = wantedFiles(seen);
    const { clock, log } = this.#context;
    const now = clock.now().getTime();
    const due: Due[] = [];
    const known = new Set<string>();
    for (const folder of folders) {
      const archives = await removeUnnamed(folder, () => this.#named(), this.#options.graceMs, now);
      for (const name of archives) log.info("images.archive.removed", { folder, name });
      // Of one that was killed, and then deleted or cancelled, say: none will begin it again. One that begins just now has a folder of now.
      if (seen.builds.every(isBuildOver))
        for (const name of await removeStaleBuilds(folder, (ms) => now - ms >= this.#options.graceMs))
          log.info("images.build.removed", { folder, name });
      for (const made of await madeIn(folder)) {
        const key = join(folder, made.base);
        known.add(key);
        if (made.files.some((file) => wanted.has(file))) {
          this.#unwanted.delete(key);
          continue;
        }
        const since = this.#unwanted.get(key) ?? now;
        this.#unwanted.set(key, since);
        // Of one that is half removed, or was never whole, nothing can be made.
        if (made.sinceMs === undefined || now - since >= this.#options.graceMs) due.push({ folder, made });
      }
    }
    for (const key of this.#unwanted.keys()) if (!known.has(key)) this.#unwanted.delete(key);
    const { ms, bases, unused } = this.#looked;
    const isOpen = due.some((made) => !bases.has(keyOf(made)) || unused.has(keyOf(made)));
    const { graceMs, scanMs } = this.#options;
    if (due.length === 0 || now - ms < (isOpen ? graceMs : scanMs)) return [];
    const still = await this.#unusedOf(due);
    signal.throwIfAborted();
    this.#looked = { ms: now, bases: new Set(due.map(keyOf)), unused: still };
    return this.#remove(
      due.filter((made) => unused.has(keyOf(made)) && still.has(keyOf(made))),
      signal,
    );
  }

  /** Those that no disk of any machine is made on. */
  async #unusedOf(due: readonly Due[]): Promise<Set<string>> {
    const [pools, machines, instances] = [
      await this.#all(StoragePool),
      await this.#all(VirtualMachine),
      await this.#all(Instance),
    ];
    if (!pools || !machines || !instances) return new Set();
    try {
      const used = await usedFiles(pools, machines, instances);
      return new Set(due.filter(({ made }) => !made.files.some((file) => used.has(file))).map(keyOf));
    } catch (error) {
      if (!(error instanceof NotSeen)) throw error;
      this.#keep(error.message);
      return new Set();
    }
  }

  /** Undefined when something cannot be read: what it uses is not known. */
  async #library(): Promise<Library | undefined> {
    const [images, builds, pools] = [
      await this.#all(Image),
      await this.#all(ImageBuild),
      await this.#all(StoragePool),
    ];
    return images && builds && pools && { images, builds, pools };
  }

  /** Those whose recipes' archives are needed: builds that are over need none any more. */
  async #named(): Promise<(Image | ImageBuild)[] | undefined> {
    const seen = await this.#library();
    return seen && [...seen.images, ...seen.builds.filter((build) => !isBuildOver(build))];
  }

  async #all<T extends Resource>(kind: Kind<T>): Promise<T[] | undefined> {
    // There may be very many machines, and nothing of them is changed here.
    const { items, skipped } = await this.#context.client.list(kind, { shared: true });
    const [odd] = skipped;
    if (!odd) return items;
    this.#keep(`${kind.singular}/${odd.name} cannot be read`);
    return undefined;
  }

  /** Versions that are not kept go from the image: no new disk is made on them. */
  async #retire(image: Image): Promise<void> {
    const { name } = image.metadata;
    const count = image.status?.versions?.length ?? 0;
    // Machines are asked only when it matters.
    if (keptVersions(image, []).length === count) return;
    const machines = await this.#all(VirtualMachine);
    if (!machines) return;
    const tags = machines.flatMap(({ spec }) =>
      imagesNamed(spec).flatMap((reference) => {
        const { name: of, tag } = parseReference(reference);
        return of === name && tag !== undefined ? [tag] : [];
      }),
    );
    if (keptVersions(image, tags).length === count) return;
    await modify(this.#context.client, Image, { name }, "status", (now) => {
      const kept = keptVersions(now, tags);
      return kept.length === (now.status?.versions?.length ?? 0)
        ? undefined
        : { ...now, status: { ...now.status, versions: kept } };
    });
  }

  async #remove(due: readonly Due[], signal: AbortSignal): Promise<string[]> {
    const { client, log } = this.#context;
    const removed: string[] = [];
    for (const { folder, made: before } of due)
      await inTurn(folder, async () => {
        const made = (await madeIn(folder)).find(({ base }) => base === before.base);
        // As it is now, and nothing becomes an image's file meanwhile.
        const seen = await this.#library();
        // What is being built may turn out to be just this.
        if (!made || !seen || seen.builds.some((build) => !isBuildOver(build))) return;
        const wanted = wantedFiles(seen);
        if (signal.aborted || made.files.some((file) => wanted.has(file))) return;
        // A build that says it made them would be taken for one that can be used.
        for (const build of seen.builds)
          if (build.status?.file !== undefined && made.files.includes(build.status.file))
            await client.delete(ImageBuild, { name: build.metadata.name });
        await removeMade(folder, made, () => {
          // Another control plane may lead by now.
          signal.throwIfAborted();
          this.#options.step?.();
        });
        this.#unwanted.delete(join(folder, made.base));
        log.info("images.removed", { folder, files: made.files.join(" ") });
        removed.push(...made.files);
      });
    return removed;
  }

  /** Told once, until there is another reason. */
  #keep(why: string): void {
    if (why === this.#told) return;
    this.#told = why;
    this.#context.log.info("images.kept", { why });
    this.#events.record(
      { kind: "StoragePool", name: "default" },
      "Normal",
      "ImagesKept",
      `files of old images are kept: ${why}`,
    );
  }
}

const imagesNamed = ({ image, disks = [], cdDrives = [] }: VirtualMachine["spec"]) => [
  image,
  ...[...disks, ...cdDrives].flatMap((each) => each.image ?? []),
];

/** Files that an image is, has as a version or was given, and those of the newest build of each, which may be taken over. */
function wantedFiles({ images, builds }: Library): Set<string> {
  const wanted = new Set<string>();
  const add = (of: { file?: string; boot?: { kernel: string; initrd: string } } | undefined) => {
    if (of?.file !== undefined) wanted.add(of.file);
    if (of?.boot) for (const file of [of.boot.kernel, of.boot.initrd]) wanted.add(file);
  };
  for (const { spec, status } of images) {
    if (spec.file !== undefined) wanted.add(spec.file);
    add(status);
    for (const version of status?.versions ?? []) add(version);
    for (const { file } of status?.artifacts ?? []) wanted.add(file);
  }
  const newest = new Map<string, ImageBuild>();
  for (const build of builds) {
    if (build.spec.verify || build.status?.phase !== "Succeeded") continue;
    const other = newest.get(build.spec.image);
    const time = (each: ImageBuild) => each.status?.finishedTime ?? "";
    if (!other || time(other) < time(build)) newest.set(build.spec.image, build);
  }
  // Of an image that is gone nothing will be taken over.
  const names = new Set(images.map(({ metadata }) => metadata.name));
  for (const [image, { status }] of newest) if (names.has(image)) add(status);
  return wanted;
}
