/** All kinds with their rules, in one list: what the server serves. */
import { RBAC_KINDS } from "./api/rbac-kinds.ts";
import { Secret } from "./api/secrets.ts";
import { checkInstance, checkNetwork, checkStoragePool, checkVirtualMachine } from "./compute/checks.ts";
import { Host, Instance, Migration, Network, StoragePool, VirtualMachine } from "./compute/kinds.ts";
import { admitVirtualMachine, checkResourceQuota, ResourceQuota } from "./compute/quota.ts";
import { checkPolicy } from "./director/checks.ts";
import { Plan, Policy } from "./director/kinds.ts";
import { checkImage } from "./images/checks.ts";
import { Image } from "./images/kinds.ts";
import { Event, Lease } from "./reconcile/kinds.ts";
import { type Kind, register } from "./resource/kind.ts";

export const KINDS: readonly Kind[] = [
  register(VirtualMachine, checkVirtualMachine, admitVirtualMachine),
  register(Instance, checkInstance),
  register(Migration),
  register(Image, checkImage),
  register(Host),
  register(Network, checkNetwork),
  register(StoragePool, checkStoragePool),
  register(Policy, checkPolicy),
  register(Plan),
  register(Lease),
  register(Event),
  register(ResourceQuota, checkResourceQuota),
  Secret,
  ...RBAC_KINDS,
];
