/** Rules of this room's kinds that a schema cannot say. Pure: they see the object, the old one and a look-up of others. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import type { Host, Instance, Migration, Network, StoragePool, VirtualMachine } from "./kinds.ts";

export function checkHost(_object: Host, _old: Host | undefined, _lookup: Lookup): Cause[] {
  return [];
}

export function checkInstance(_object: Instance, _old: Instance | undefined, _lookup: Lookup): Cause[] {
  return [];
}

export function checkMigration(_object: Migration, _old: Migration | undefined, _lookup: Lookup): Cause[] {
  return [];
}

export function checkNetwork(_object: Network, _old: Network | undefined, _lookup: Lookup): Cause[] {
  return [];
}

export function checkStoragePool(
  _object: StoragePool,
  _old: StoragePool | undefined,
  _lookup: Lookup,
): Cause[] {
  return [];
}

export function checkVirtualMachine(
  _object: VirtualMachine,
  _old: VirtualMachine | undefined,
  _lookup: Lookup,
): Cause[] {
  return [];
}
