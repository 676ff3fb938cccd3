/**
 * Layers of disks under a running guest, over QMP: all disks switched to new overlays at one instant. What is open, and where, is asked of QEMU each time; a layer
 * is known by its path, which never changes while QEMU has it open. One that nobody needs any more is taken out by layer-merge.ts.
 */
import { createHash } from "node:crypto";
import { type Node, listNodes as nodes, pathOf } from "./block-nodes.ts";
import { isFields, type Qmp, QmpError } from "./qmp.ts";

/** A qcow2 file that is open for writing, and an empty overlay of it that is to take its place. */
export interface Switch {
  from: string;
  to: string;
}

/** As in command-line.ts. */
const LAYER = { "read-only": false, discard: "unmap" } as const;

/** The paths of the layers that the guest writes to now, one for each of its disks. */
export async function activeLayers(qmp: Qmp): Promise<string[]> {
  const answer = await qmp.execute("query-block");
  return (Array.isArray(answer) ? answer : []).flatMap((device) =>
    isFields(device) && isFields(device.inserted) && typeof device.inserted.file === "string"
      ? [pathOf(device.inserted.file)]
      : [],
  );
}

/** The node of a layer, above that of its file. */
export const formatNode = (all: readonly Node[], path: string): Node | undefined =>
  all.find(({ driver, file }) => file === path && driver === "qcow2");

/** At most 31 characters; of the path, because that is what makes a layer. */
export const layerNode = (path: string) =>
  `layer-${createHash("sha256").update(path).digest("hex").slice(0, 24)}`;

/** Opens the overlays. @returns what a transaction has to do to switch the disks that are not switched yet. @throws QmpError */
export async function overlayActions(qmp: Qmp, switches: readonly Switch[]): Promise<unknown[]> {
  const active = await activeLayers(qmp);
  const wanted = switches.filter(({ to }) => !active.includes(to));
  const known = await nodes(qmp);
  const actions: unknown[] = [];
  for (const { from, to } of wanted) {
    const node = formatNode(known, from);
    if (!node || !active.includes(from)) throw new QmpError("GenericError", `it does not write to ${from}`);
    const overlay = layerNode(to);
    // Of an attempt that was cut short.
    if (known.some(({ name }) => name === overlay))
      await qmp.execute("blockdev-del", { "node-name": overlay });
    await qmp.execute("blockdev-add", {
      driver: "qcow2",
      "node-name": overlay,
      ...LAYER,
      backing: null,
      file: { driver: "file", filename: to, aio: "threads", locking: "on", ...LAYER },
    });
    actions.push({ type: "blockdev-snapshot", data: { node: node.name, overlay } });
  }
  return actions;
}

/**
 * Switches all disks in one transaction: what they hold afterwards in the layers below is of one instant. Disks that are switched already stay
 * as they are. @returns how long it took, ms: the longest that a write of the guest can have waited. @throws QmpError; then none is switched.
 */
export async function switchLayers(qmp: Qmp, switches: readonly Switch[]): Promise<number> {
  const actions = await overlayActions(qmp, switches);
  if (actions.length === 0) return 0;
  const began = performance.now();
  await qmp.execute("transaction", { actions }, 60_000);
  return performance.now() - began;
}
