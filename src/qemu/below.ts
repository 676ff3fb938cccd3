/** Disks that were opened apart from what is below them (mirror.ts), and are put on it once that is all there; verified on QEMU 7.2. */
import { listNodes } from "./block-nodes.ts";
import { type Disk, diskFormat } from "./devices.ts";
import type { Qmp } from "./qmp.ts";
import { layerNode } from "./snapshot.ts";

/** The file below one, and its format. */
export interface Below {
  path: string;
  format: string;
}

/**
 * While the guest stands still. No-op for those that are on it.
 * @param key as in the names of its nodes (devices.ts)
 * @throws QmpError; may be called again
 */
export async function openBelow(
  qmp: Qmp,
  disk: Pick<Disk, "path" | "format" | "readOnly">,
  key: string,
  { path: filename, format: driver }: Below,
): Promise<void> {
  const known = await listNodes(qmp);
  const format = diskFormat(disk, key);
  if (known.find(({ name }) => name === format["node-name"])?.backing) return;
  const node = layerNode(filename);
  if (!known.some(({ name }) => name === node)) {
    const file = { driver: "file", filename, aio: "threads", locking: "on", "read-only": true };
    await qmp.execute("blockdev-add", { driver, "node-name": node, "read-only": true, file });
  }
  await qmp.execute("blockdev-reopen", {
    options: [{ ...format, file: format.file["node-name"], backing: node }],
  });
}
