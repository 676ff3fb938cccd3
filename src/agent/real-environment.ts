/** The real HostEnvironment: disks in storage pools, taps on bridges; keeps the networks here in line with the estate. */
import type { Client } from "../client/client.ts";
import { acceleratorOf, type Has, hardwareOf } from "../compute/hardware/kinds.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { hadCustody, Instance, type Platform, platformObstacle, VirtualMachine } from "../compute/kinds.ts";
import { Network } from "../compute/networks/kinds.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { Image } from "../images/kinds.ts";
import { imageAt, imageOf } from "../images/versions/kinds.ts";
import type { LackingMemory } from "../qemu/hot-memory.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { keyOf } from "../resource/object.ts";
import { bothOf } from "./both.ts";
import { adoptBases } from "./disks/bases.ts";
import { cdsOf, inBootOrder } from "./disks/cds.ts";
import { Copies } from "./disks/copies.ts";
import { leftEnclosures } from "./disks/enclosed-img.ts";
import { InTime } from "./disks/in-time.ts";
import type { Layers } from "./disks/layers.ts";
import { removeLeft } from "./disks/left-files.ts";
import type { ToCopy } from "./disks/volume-copies.ts";
import {
  acceptCopies,
  apart,
  copiesBesides,
  describeVolumes,
  makeCopies,
  type Pools,
  refuseCopies,
  settleCopies,
} from "./disks/volume-copies.ts";
import { dumpsOf, folderOf, imagesFolder, layersOf, userOf } from "./disks/volume-places.ts";
import type { SavedMachine } from "./disks/volumes.ts";
import { destroyVolumes, ensureVolumes, halfMade, liveDisks, stopMaking, wayOut } from "./disks/volumes.ts";
import type { HostEnvironment, Prepared } from "./environment.ts";
import type { CdConfig, DiskConfig } from "./hypervisor.ts";
import { runKsm } from "./ksm.ts";
import { MemoryLeft } from "./memory-left.ts";
import { type HostNetworking, HostNetworks, NO_TAPS } from "./network/host-networks.ts";
import { PrepareError } from "./prepare-error.ts";
import { failedTo } from "./reasons.ts";
import { beginning } from "./runs/changes.ts";
import type { Dumps } from "./runs/dumps.ts";
import { type Identity, identityOf } from "./runs/identity.ts";
import type { Trace } from "./traces.ts";

export interface RealEnvironmentOptions {
  client: Client;
  host: string;
  address: string;
  /** What runs here can go on with. */
  platform: Platform & Has;
  networking: HostNetworking;
  /** A development host: its kernel is others', too. */
  sharesKernel?: boolean;
  log: Logger;
}

const NO_TEMPLATE_MEMORY = "the memory of its template is not there, or is of another kind of machine";
/** Why a run cannot go on here with the memory of a snapshot; undefined when it can. What was kept by an older agent tells no CPU. */
export function memoryObstacle(
  { accelerator, cpuModel, guestCpu, kind }: Omit<SavedMachine, "file" | "machineType">,
  here: Platform & Has,
): string | undefined {
  const then = { accelerator, cpuModel: cpuModel ?? here.cpuModel, ...(guestCpu ? { guestCpu } : {}) };
  const why = platformObstacle(then, here);
  return why && `its host cannot go on with the memory that is kept: ${why}; ${wayOut(kind)}`;
}

export class RealEnvironment implements HostEnvironment {
  readonly bindAddress: string;
  readonly #o: RealEnvironmentOptions;
  readonly #informers: { hosts: Informer<Host>; networks: Informer<Network>; instances: Informer<Instance> };
  readonly #networks: HostNetworks;
  readonly #startedMs = Date.now();
  readonly #copies = new Copies();
  readonly #inTime = new InTime();
  readonly #memory = new MemoryLeft();

  constructor(options: RealEnvironmentOptions) {
    const { client, log } = options;
    this.#o = options;
    this.bindAddress = options.address;
    this.#informers = {
      hosts: new Informer(client, Host, { log }),
      networks: new Informer(client, Network, { log }),
      instances: new Informer(client, Instance, { fieldSelector: `spec.host=${options.host}`, log }),
    };
    this.#networks = new HostNetworks(options, this.#informers);
  }

  /** Follows hosts and networks until the signal aborts; resolves after the first look. */
  async start(signal: AbortSignal): Promise<void> {
    const informers = Object.values(this.#informers);
    for (const informer of informers) void informer.run(signal);
    await Promise.all(informers.map((informer) => informer.synced));
    const { client, host, sharesKernel = false, log } = this.#o;
    void runKsm({ client, host, hosts: this.#informers.hosts, sharesKernel, log, signal });
    await this.#networks.start(signal);
  }

  async prepare(instance: Instance): Promise<Prepared> {
    try {
      return await this.#prepare(instance);
    } catch (error) {
      this.#memory.letGo(instance);
      throw error;
    }
  }

  async #prepare(instance: Instance): Promise<Prepared> {
    const { client } = this.#o;
    const { spec } = instance;
    const accelerator = acceleratorOf(spec.hardware, this.#o.platform.accelerator);
    const [pool, image, imageFolders, sourcePool] = await Promise.all([
      this.#poolOf(instance),
      this.#image(spec.image),
      this.#imageFolders(),
      spec.source?.storagePool ? client.get(StoragePool, { name: spec.source.storagePool }) : undefined,
    ]);
    const user = userOf(spec);
    const make = async () => {
      if (spec.copyDisks) await makeCopies(await this.#pools(instance), instance, spec.copyDisks);
      else await refuseCopies(pool, instance);
      return ensureVolumes(pool, image, instance, {
        ...this.#library(pool),
        imageFolders,
        sourcePool,
        copies: this.#copies,
      });
    };
    const making = make().catch(
      failedTo(`make the disks of ${spec.vm} in the storage pool ${spec.storagePool}`),
    );
    // Each takes programs that take their time: both at once. But a copy is asked for again and again.
    if (spec.source?.mode === "Full" || spec.copyDisks) await making;
    const [made, nics] = await bothOf(making, this.#networks.nics(instance, user));
    const { folders, images, boot, tpm } = made;
    const { copyDisks } = spec;
    const open = (disk: DiskConfig) => (copyDisks ? apart(disk, copyDisks) : disk);
    const disks = made.disks.map(open);
    const firmware = made.firmware && { ...made.firmware, variables: open(made.firmware.variables) };
    let { saved } = made;
    const other = saved && memoryObstacle(saved, { ...this.#o.platform, accelerator });
    if (other && !saved?.cloned) throw new PrepareError(other);
    if (other) {
      await layersOf(pool, instance).memories.resumed();
      saved = undefined;
    }
    const notInstant = spec.source?.mode === "Instant" && !saved ? (other ?? NO_TEMPLATE_MEMORY) : undefined;
    const { ports } = beginning(instance);
    const isolated = nics.some(({ backend }) => "user" in backend) ? NO_TAPS : undefined;
    const cds = await this.#cds(instance, pool);
    const empty = cds.find(({ lacking }) => lacking !== undefined);
    if (empty) throw new PrepareError(`spec.cdDrives: ${empty.name}: ${empty.lacking}`);
    const ksm = this.#informers.hosts.get(this.#o.host)?.status?.ksm;
    const inOrder = inBootOrder({ disks, nics, cds, ...(boot ? { boot } : {}) }, spec);
    return {
      ...inOrder,
      folders,
      images: cds.length > 0 ? [...new Set([...images, ...imageFolders])] : images,
      ...(ports > 0 ? { ports } : {}),
      user,
      accelerator,
      ...(firmware ? { firmware } : {}),
      ...(tpm ? { tpm } : {}),
      hardware: hardwareOf(spec.hardware),
      ...(ksm && ksm.namespace === instance.metadata.namespace ? { mergeWith: ksm.namespace } : {}),
      ...(isolated ? { isolated } : {}),
      ...(saved ? { saved } : {}),
      ...(notInstant ? { notInstant } : {}),
    };
  }

  memoryLack(instance: Instance): string | undefined {
    const { hosts, instances } = this.#informers;
    return this.#memory.lack(hosts.get(this.#o.host), instance, instances.list());
  }

  growthLack(instance: Instance): LackingMemory {
    const { hosts, instances } = this.#informers;
    return this.#memory.lackToGrow(hosts.get(this.#o.host), instance, instances.list());
  }

  async identity({ spec, ...instance }: Instance): Promise<Identity> {
    const subnets: string[] = [];
    for (const { network: name } of spec.interfaces) {
      const network = await this.#o.client.get(Network, { name });
      if (!network) throw new PrepareError(`spec.networks: there is no Network ${name}`);
      subnets.push(network.spec.subnet);
    }
    return identityOf({ ...instance, spec }, subnets);
  }

  async devices(instance: Instance): Promise<Pick<Prepared, "disks" | "cds" | "nics">> {
    const { storagePool, vm } = instance.spec;
    const pool = await this.#poolOf(instance);
    const disks = await liveDisks(pool, instance, this.#library(pool)).catch(
      failedTo(`make the disks of ${vm} in the storage pool ${storagePool}`),
    );
    const [cds, nics] = await Promise.all([
      this.#cds(instance, pool),
      this.#networks.nics(instance, userOf(instance.spec)),
    ]);
    return { disks, ...(cds.length > 0 ? { cds } : {}), nics };
  }

  #cds(instance: Instance, own: StoragePool): Promise<CdConfig[]> {
    return cdsOf(instance, this.#library(own));
  }

  /** Images, and where their files are for a machine whose pool is `own`. */
  #library(own: StoragePool) {
    return {
      imageNamed: (reference: string) => this.#image(reference),
      poolOf: (image: Image | undefined) => this.#poolOfImage(image, own),
    };
  }

  /** Of all pools: a disk may be of an image that has moved since; and into drives any may come while the machine runs. */
  async #imageFolders(): Promise<string[]> {
    const { items } = await this.#o.client.list(StoragePool);
    return items.map(imagesFolder);
  }

  async release(instance: Instance): Promise<void> {
    this.#memory.letGo(instance);
    const uid = instance.metadata.uid ?? "";
    const { spec, status } = instance;
    // Its guest may not have let go of one that it is not to have any more.
    for (const { mac } of [...spec.interfaces, ...(status?.has?.interfaces ?? [])])
      await this.#networks.removeTap({ uid, mac });
    if (!instance.spec.source && !instance.spec.copyDisks) return;
    const pool = await this.#o.client.get(StoragePool, { name: instance.spec.storagePool });
    if (pool && instance.spec.source) await stopMaking(pool, instance, this.#copies);
    if (pool && instance.spec.copyDisks) await settleCopies(pool, instance);
  }

  /** @throws PrepareError; ApiError */
  async #poolOf({ spec }: Instance): Promise<StoragePool> {
    const pool = await this.#o.client.get(StoragePool, { name: spec.storagePool });
    if (!pool) throw new PrepareError(`spec.storagePool: there is no StoragePool ${spec.storagePool}`);
    return pool;
  }

  /** Of a version, with that one's files. */
  async #image(reference: string): Promise<Image | undefined> {
    return imageAt(await this.#o.client.get(Image, { name: imageOf(reference) }), reference);
  }

  /** An image may be in another pool than the machine: a shared one, say. @throws PrepareError; ApiError */
  async #poolOfImage(image: Image | undefined, own: StoragePool): Promise<StoragePool> {
    const name = image?.spec.storagePool ?? own.metadata.name;
    if (name === own.metadata.name) return own;
    const pool = await this.#o.client.get(StoragePool, { name });
    if (!pool) throw new PrepareError(`image ${image?.metadata.name}: there is no StoragePool ${name}`);
    return pool;
  }

  async #pools(instance: Instance): Promise<Pools> {
    const { client } = this.#o;
    const [own, image, { items: all }] = await Promise.all([
      this.#poolOf(instance),
      this.#image(instance.spec.image),
      client.list(StoragePool),
    ]);
    const shared = all.filter(({ spec }) => spec.directory.shared);
    return { own, shared, image, ofImage: await this.#poolOfImage(image, own) };
  }

  async volumes(instance: Instance): Promise<ToCopy> {
    const pools = await this.#pools(instance);
    await this.#adoptBases(pools.own, instance);
    return describeVolumes(pools, instance);
  }

  async copiesBesides(instance: Instance): Promise<DiskConfig[]> {
    return instance.spec.copyDisks ? copiesBesides(await this.#poolOf(instance), instance) : [];
  }

  async acceptDisks(instance: Instance): Promise<void> {
    if (instance.spec.copyDisks) await acceptCopies(await this.#poolOf(instance), instance);
  }

  async traces(): Promise<Trace[]> {
    const [networks, enclosures] = [await this.#networks.traces(), await leftEnclosures()];
    const files: Trace[] = [];
    // One after the other: there may be many, and nobody waits for it.
    for (const instance of this.#informers.instances.list()) files.push(...(await this.#leftFiles(instance)));
    return [...networks, ...enclosures, ...files];
  }

  /** Only of a run that has the disks, or had them last: elsewhere another agent may be making them. */
  async #leftFiles(instance: Instance): Promise<Trace[]> {
    const { client, log } = this.#o;
    const { storagePool, vm, vmUid } = instance.spec;
    const { uid, name, namespace } = instance.metadata;
    const pool = hadCustody(instance)
      ? await client.get(StoragePool, { name: storagePool }).catch(() => undefined)
      : undefined;
    if (!pool) return [];
    const unread = (error: unknown) => log.warn("disks.left", { instance: keyOf(instance), error });
    const look = async () => {
      const files = await halfMade(pool, instance, this.#startedMs, unread);
      if (files.length === 0) return [];
      // Afterwards: what is there while nobody works on the disks, nobody comes back to.
      const machine = await client.get(VirtualMachine, { name: vm, ...(namespace ? { namespace } : {}) });
      if (machine?.metadata.uid !== vmUid || machine.status?.disksBusy) return [];
      const isNewest = name === `${vm}-${machine.status?.sequence}`;
      return isNewest || instance.status?.custody === "Held" ? files : [];
    };
    const files = await this.#inTime.run(storagePool, look, unread).catch(unread);
    return (files ?? []).map((path) => ({
      what: path,
      isNeeded: ({ instances }) =>
        !instances.some((each) => each.metadata.uid === uid && hadCustody(each)) ||
        instances.some(
          ({ metadata, spec, status }) =>
            spec.vmUid === vmUid && metadata.uid !== uid && status?.custody !== "Released",
        ),
      remove: async () => {
        const remove = async () => {
          if ((await look()).includes(path)) await removeLeft(path, this.#startedMs);
        };
        await this.#inTime.run(storagePool, remove, unread);
      },
    }));
  }

  async releaseInterface({ metadata }: Instance, mac: string): Promise<void> {
    await this.#networks.removeTap({ uid: metadata.uid ?? "", mac });
  }

  async layers(instance: Instance): Promise<Layers> {
    const pool = await this.#poolOf(instance);
    await this.#adoptBases(pool, instance);
    return layersOf(pool, instance);
  }

  /** Of a machine that runs since before it was written down. */
  async #adoptBases(pool: StoragePool, instance: Instance): Promise<void> {
    await adoptBases(folderOf(pool, instance), await this.#imageFolders());
  }

  async dumps(instance: Instance): Promise<Dumps> {
    return dumpsOf(await this.#poolOf(instance), instance);
  }

  async destroyVolumes(instance: Instance): Promise<void> {
    const pool = await this.#o.client.get(StoragePool, { name: instance.spec.storagePool });
    if (pool) await destroyVolumes(pool, instance);
  }
}
