/**
 * What an instance needs of its host besides the hypervisor: disks and network. Implementations: RealEnvironment
 * (real-environment.ts) and PretendEnvironment (testing/pretend-environment.ts, for crash tests). Every call is idempotent.
 */
import type { Instance } from "../compute/kinds.ts";
import type { LackingMemory } from "../qemu/hot-memory.ts";
import type { Layers } from "./disks/layers.ts";
import type { ToCopy } from "./disks/volume-copies.ts";
import type { SavedMachine } from "./disks/volumes.ts";
import type { DiskConfig, MachineConfig } from "./hypervisor.ts";
import type { Dumps } from "./runs/dumps.ts";
import type { Identity } from "./runs/identity.ts";
import type { Trace } from "./traces.ts";

export interface Prepared
  extends Pick<
    MachineConfig,
    | "disks"
    | "cds"
    | "folders"
    | "images"
    | "nics"
    | "ports"
    | "boot"
    | "firmware"
    | "hardware"
    | "tpm"
    | "user"
    | "accelerator"
  > {
  /** With which others its memory may be merged; with none when absent. */
  mergeWith?: string;
  /** Why nobody reaches the machine from outside, when that is so. */
  isolated?: string;
  /** The run goes on with this memory instead of booting. */
  saved?: SavedMachine;
  /** Why a clone that was to go on with its template's memory boots instead. */
  notInstant?: string;
}

export interface HostEnvironment {
  /**
   * Makes sure of disks (only for an instance with custody, unless they exist) and taps. @throws StillPreparing: again a little later; PrepareError;
   * ApiError when the control plane does not answer
   */
  prepare(instance: Instance): Promise<Prepared>;
  /** Why the host has not the memory for it now; undefined when it has: it is counted from then on, until prepare fails or it is released. */
  memoryLack(instance: Instance): string | undefined;
  /** Why the host has not the memory for what its guest, which runs, is to have more of than now; what may come is counted from then on. */
  growthLack(instance: Instance): LackingMemory;
  /** Who the guest of an instant clone is to become. @throws PrepareError; ApiError */
  identity(instance: Instance): Promise<Identity>;
  /** Makes sure of what is to be plugged into the running machine: disks in the order of Prepared, what comes into its drives, and taps. @throws PrepareError; ApiError */
  devices(instance: Instance): Promise<Pick<Prepared, "disks" | "cds" | "nics">>;
  /** Takes the tap of an interface away that the machine has no more. */
  releaseInterface(instance: Instance, mac: string): Promise<void>;
  /** Takes the taps away, copies of disks of a target that never was the machine, and ends what is still being made. Disks stay: they belong to the machine, not to this run of it. */
  release(instance: Instance): Promise<void>;
  /** What goes along when it moves without shared storage. @throws PrepareError, LayersError; ApiError when the control plane does not answer */
  volumes(instance: Instance): Promise<ToCopy>;
  /** Of a target: the copies that its machine does not have as disks. @throws as layers */
  copiesBesides(instance: Instance): Promise<DiskConfig[]>;
  /** The copies that came along with a migration are the machine's disks from now on. No-op when they are. @throws as layers */
  acceptDisks(instance: Instance): Promise<void>;
  /** The layers of the machine's disks, for its snapshots. @throws PrepareError; ApiError when the control plane does not answer */
  layers(instance: Instance): Promise<Layers>;
  /** Where dumps of its memory are kept. @throws PrepareError; ApiError when the control plane does not answer */
  dumps(instance: Instance): Promise<Dumps>;
  /** What is here of runs and networks, and what an agent that was killed has half made; and mends what somebody else took away. */
  traces(): Promise<Trace[]>;
  /** Destroys the machine's disks: exactly its own folder. */
  destroyVolumes(instance: Instance): Promise<void>;
  /** Where incoming migrations listen. */
  readonly bindAddress: string;
}
