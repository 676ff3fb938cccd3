import type { VirtualMachine } from "../kinds.ts";

/** What of a clone cannot be otherwise than its source has it; what its first run boots comes from there. */
export function unlike({ spec }: VirtualMachine, { spec: of, metadata }: VirtualMachine): string | undefined {
  if (spec.image !== of.image)
    return `spec.image: the disks of ${metadata.name} are made from image ${of.image}; say so here, too`;
  if (spec.storagePool !== of.storagePool && spec.source?.mode !== "Full")
    return `spec.storagePool: the disks of ${metadata.name} are in ${of.storagePool}, and so are those linked to them; say so here, too, or make it Full`;
  return undefined;
}
