/**
 * What an instance needs of its host besides the hypervisor: disks and network. Implementations: RealEnvironment
 * (real-environment.ts) and PretendEnvironment (pretend-hypervisor.ts, for crash tests). Every call is idempotent.
 */
import type { Instance } from "../compute/kinds.ts";
import type { MachineConfig } from "./hypervisor.ts";

export type Prepared = Pick<MachineConfig, "disks" | "nics" | "boot" | "user" | "accelerator">;

export interface HostEnvironment {
  /** Makes sure of disks (only for an instance with custody, unless they exist) and taps. @throws Error with a text for users */
  prepare(instance: Instance): Promise<Prepared>;
  /** Takes the taps away. Disks stay: they belong to the machine, not to this run of it. */
  release(instance: Instance): Promise<void>;
  /** Destroys the machine's disks: exactly its own folder. */
  destroyVolumes(instance: Instance): Promise<void>;
  /** Where incoming migrations listen. */
  readonly bindAddress: string;
}
