/**
 * Disks that are only names, one a machine: what the world's check is about. With a world and a folder their layers are files there; with a world and a
 * host those in pools called local are that host's own.
 */
import { existsSync, mkdirSync } from "node:fs";
import { hadCustody, type Instance } from "../../compute/kinds.ts";
import type { Volumes } from "../../compute/migrations/kinds.ts";
import type { LackingMemory } from "../../qemu/hot-memory.ts";
import { writeBase } from "../disks/bases.ts";
import { layerName } from "../disks/data-disks.ts";
import { Layers } from "../disks/layers.ts";
import type { ToCopy } from "../disks/volume-copies.ts";
import type { HostEnvironment, Prepared } from "../environment.ts";
import type { DiskConfig, NicConfig } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { beginning } from "../runs/changes.ts";
import { Dumps } from "../runs/dumps.ts";
import type { Identity } from "../runs/identity.ts";
import type { Trace } from "../traces.ts";
import { contentOf, makeDataLayer, makeLayer, pretendTool } from "./pretend-layers.ts";
import type { PretendWorld } from "./pretend-world.ts";

export interface PretendFiles {
  world: PretendWorld;
  folder: string;
  /** Whether the agent that uses them has been killed. */
  isDead: () => boolean;
}

/** Its disks are not shared between hosts. */
export const LOCAL_POOL = "local";

const VOLUMES: Volumes = {
  disks: [{ name: "root", sizeBytes: 1 }],
  seedBytes: 1,
  origin: { file: "web.qcow2" },
};

export class PretendEnvironment implements HostEnvironment {
  readonly bindAddress: string = "pretend";
  readonly destroyed: string[] = [];
  readonly #files: PretendFiles | undefined;
  readonly #own: { world: PretendWorld; host: string } | undefined;

  constructor(files?: PretendFiles, own?: { world: PretendWorld; host: string }) {
    this.#files = files;
    this.#own = own;
  }

  memoryLack(_instance: Instance): string | undefined {
    return undefined;
  }

  growthLack(_instance: Instance): LackingMemory {
    return {};
  }

  async layers(instance: Instance): Promise<Layers> {
    if (!this.#files) throw new PrepareError("these disks have no layers");
    const { folder, world } = this.#files;
    world.fault("layers", "before");
    const own = `${folder}/${instance.spec.vmUid}`;
    makeLayer(`${own}/root.qcow2`);
    const data = (instance.status?.has?.disks ?? instance.spec.disks ?? []).map(layerName);
    return this.#layersIn(own, ["root", ...data]);
  }

  #layersIn(folder: string, disks = ["root"]): Layers {
    const { world, isDead } = this.#files ?? {};
    if (!world || !isDead) throw new PrepareError("these disks have no layers");
    const tool = pretendTool(world.contents, isDead, (call) => world.fault(call, "before"));
    return new Layers(folder, disks, { uid: 0, gid: 0 }, tool);
  }

  /** As clones.ts does it: the disk last. */
  async #clone({ spec }: Instance, folder: string): Promise<void> {
    const { world, isDead } = this.#files ?? {};
    const { source } = spec;
    if (!world || !isDead || !source?.vmUid || existsSync(`${folder}/${spec.vmUid}/root.qcow2`)) return;
    const lender = this.#layersIn(`${folder}/${source.vmUid}`);
    const { disks, taken } = await lender.lent(source.snapshotUid ?? "");
    const file = lender.memories.file(source.snapshotUid ?? "");
    const own = `${folder}/${spec.vmUid}`;
    if (source.mode === "Instant" && taken.memory && existsSync(file))
      await this.#layersIn(own).memories.resumeAs({ file, of: taken.memory });
    const tool = pretendTool(world.contents, isDead);
    const [layer = ""] = Object.values(disks);
    if (source.mode === "Full") {
      makeLayer(`${own}/root.qcow2`);
      world.contents.set(`${own}/root.qcow2`, contentOf(world.contents, layer) ?? 0);
    } else {
      mkdirSync(own, { recursive: true });
      await writeBase(`${own}/root.qcow2`, { path: layer, format: "qcow2" });
      await tool.create(`${own}/root.qcow2`, layer, 2 ** 24, { uid: 0, gid: 0 });
    }
  }

  async dumps(instance: Instance): Promise<Dumps> {
    if (!this.#files) throw new PrepareError("these disks have no folder");
    return new Dumps(`${this.#files.folder}/${instance.spec.vmUid}/dumps`, { uid: 0, gid: 0 });
  }

  async #disks(instance: Instance): Promise<DiskConfig[]> {
    const disks = instance.spec.disks ?? [];
    let paths = [diskOf(instance), ...disks.map(({ name }) => `${diskOf(instance)}/${name}`)];
    if (this.#files) {
      paths = await (await this.layers(instance)).active(["root", ...disks.map(layerName)]);
      for (const path of paths.slice(1)) makeDataLayer(path);
    }
    return paths.map((path, i) => {
      const { name, port } = disks[i - 1] ?? {};
      return {
        path,
        format: "qcow2",
        readOnly: false,
        ...(name === undefined ? {} : { name }),
        ...(port === undefined ? {} : { port }),
      };
    });
  }

  #nics({ spec }: Instance): NicConfig[] {
    return spec.interfaces.map(({ mac, port }) => ({
      mac,
      mtu: 1450,
      backend: { user: true },
      ...(port === undefined ? {} : { port }),
    }));
  }

  async prepare(instance: Instance): Promise<Prepared> {
    this.#makeLocal(instance);
    if (this.#files) {
      await this.#clone(instance, this.#files.folder);
      const layers = await this.layers(instance);
      if (!instance.spec.incoming) await layers.settle();
      else if (await layers.isUnsettled()) throw new PrepareError("a snapshot of it was cut short");
    }
    const { ports } = beginning(instance);
    if (this.#files && instance.spec.discardMemory) await (await this.layers(instance)).memories.resumed();
    const saved =
      this.#files && !instance.spec.incoming
        ? await (await this.layers(instance)).memories.next()
        : undefined;
    return {
      ...(instance.spec.source?.mode === "Instant" && !saved
        ? { notInstant: "the memory of its template is not there" }
        : {}),
      ...(saved
        ? {
            saved: {
              file: saved.file,
              kind: saved.kind,
              machineType: saved.of.machineType,
              accelerator: saved.of.accelerator,
              ...(saved.cloned ? { cloned: true } : {}),
              ...(saved.of.has ? { has: saved.of.has } : {}),
            },
          }
        : {}),
      disks: await this.#disks(instance),
      nics: this.#nics(instance),
      ...(ports > 0 ? { ports } : {}),
      user: { uid: 1, gid: 1 },
      accelerator: "tcg",
    };
  }

  async identity({ spec }: Instance): Promise<Identity> {
    return { hostname: spec.vm, machineId: spec.vmUid, cards: [] };
  }

  async devices(instance: Instance): Promise<Pick<Prepared, "disks" | "nics">> {
    return { disks: await this.#disks(instance), nics: this.#nics(instance) };
  }

  async releaseInterface(): Promise<void> {}

  /** As volumes.ts and volume-copies.ts do. */
  #makeLocal({ spec, metadata }: Instance): void {
    if (!this.#own || spec.storagePool !== LOCAL_POOL) return;
    const { world, host } = this.#own;
    const path = diskOf({ spec });
    const there = world.local.at(path, host);
    if (spec.copyDisks) {
      if (there && !there.mark) throw new PrepareError("there are disks of it on this host already");
      if (there?.mark !== metadata.uid)
        world.local.make(path, host, { whole: false, mark: metadata.uid ?? "" });
    } else if (spec.incoming) throw new PrepareError("its disks are not on this host");
    else if (there?.mark) throw new PrepareError("what is on this host is a half-made copy");
    else if (!there && spec.volumesExist) throw new PrepareError("its disks are not on this host");
    else if (!there) world.local.make(path, host, { whole: true });
  }

  async volumes(): Promise<ToCopy> {
    return { volumes: VOLUMES, besides: [] };
  }

  async copiesBesides(): Promise<[]> {
    return [];
  }

  async acceptDisks({ spec }: Instance): Promise<void> {
    if (this.#own && spec.copyDisks) this.#own.world.local.accept(diskOf({ spec }), this.#own.host);
  }

  async release(instance: Instance): Promise<void> {
    const { spec, metadata } = instance;
    if (!this.#own || !spec.copyDisks) return;
    const { world, host } = this.#own;
    const path = diskOf({ spec });
    if (world.local.at(path, host)?.mark !== metadata.uid) return;
    if (hadCustody(instance)) world.local.accept(path, host);
    else world.local.remove(path, host);
  }

  async traces(): Promise<Trace[]> {
    return [];
  }

  async destroyVolumes(instance: Instance): Promise<void> {
    const path = diskOf(instance);
    if (this.#own) this.#own.world.local.remove(path, this.#own.host);
    this.destroyed.push(path);
  }
}

export const diskOf = ({ spec }: Pick<Instance, "spec">) => `/pretend/${spec.vmUid}`;
