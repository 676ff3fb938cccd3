/** The memory of a guest as QEMU's object: where it comes from. Pure. */

export interface Ram {
  /** Bytes of a page that the host has set aside. */
  hugePageBytes?: number;
  /** The host's NUMA node that all of it is of. */
  node?: number;
  /** The host may merge it with equal memory of others. */
  mergeable?: boolean;
  /** A descriptor that QEMU has: what it holds is the memory in the beginning, and what the guest writes is its own. */
  fd?: number;
}

/**
 * A file in memory, as what shares it with QEMU needs. KSM merges no such memory: where it is to, it is private. Huge pages and that of one node are taken at
 * the start: later there might be none left, which would be the end of the guest.
 */
export function ramObject(id: string, size: number, ram: Ram = {}): Record<string, unknown> {
  const { hugePageBytes, node, mergeable, fd } = ram;
  const type = fd !== undefined ? "file" : mergeable ? "ram" : "memfd";
  return {
    "qom-type": `memory-backend-${type}`,
    id,
    size,
    share: type === "memfd",
    ...(fd === undefined ? {} : { "mem-path": `/proc/self/fd/${fd}` }),
    merge: mergeable ?? false,
    ...(hugePageBytes ? { hugetlb: true, hugetlbsize: hugePageBytes } : {}),
    ...(node === undefined ? {} : { "host-nodes": [node], policy: "bind" }),
    ...(isKept(ram) ? { prealloc: true } : {}),
  };
}

/** Whether the guest keeps all of it, used or not. */
export const isKept = ({ hugePageBytes, node }: Ram = {}): boolean =>
  hugePageBytes !== undefined || node !== undefined;
