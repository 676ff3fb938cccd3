/**
 * CD drives, and what is in them. A drive has a name and is there from the start to the end; a medium is a file that is read, with a node of
 * its own for each drive and file, so that the new one is open before the old one is let go of.
 */
import { createHash } from "node:crypto";
import { nodeNames } from "./block-nodes.ts";
import { BOARDS, type Hardware, ideDisk, type Slots } from "./board.ts";
import { isFields, type Qmp, QmpError } from "./qmp.ts";

export interface Cd {
  name: string;
  /** Of the file that is to be in it; empty when absent. */
  path?: string;
  /** Whether what is in it is taken out although the guest has locked it. */
  force?: boolean;
  /** When the firmware tries it; after the disks when nothing is said of any device. */
  bootindex?: number;
}

const deviceOf = (name: string) => `cd-${name}`;
const nodePrefix = (name: string) => `medium-${name}-`;
/** At most 31 characters, as QEMU has it. */
const nodeOf = (name: string, path: string) =>
  `${nodePrefix(name)}${createHash("sha256").update(path).digest("hex").slice(0, 8)}`;

const medium = (name: string, path: string) => ({
  driver: "raw",
  "node-name": nodeOf(name, path),
  "read-only": true,
  file: { driver: "file", filename: path, "read-only": true, locking: "on" },
});

/** Puts them into the machine. @returns arguments of what is in them */
export function attachCds(
  { board }: Hardware,
  slots: Slots,
  cds: readonly Cd[],
  orderOf: (cd: Cd, i: number) => { bootindex?: number },
): string[] {
  const scsi = !BOARDS[board].hasIde;
  if (scsi && cds.length > 0) slots.addPci({ driver: "virtio-scsi-pci", id: "cds" });
  for (const [i, cd] of cds.entries())
    slots.add({
      driver: scsi ? "scsi-cd" : "ide-cd",
      id: deviceOf(cd.name),
      ...(cd.path === undefined ? {} : { drive: nodeOf(cd.name, cd.path) }),
      ...orderOf(cd, i),
      ...(scsi ? { bus: "cds.0", "scsi-id": i } : ideDisk(board, placeOf(board, i))),
    });
  return cds.flatMap(({ name, path }) =>
    path === undefined ? [] : ["-blockdev", JSON.stringify(medium(name, path))],
  );
}

/** A channel that no disk takes: the second, which is that of the seed, and the last, of which data disks leave room (compute/hardware/kinds.ts). */
function placeOf(board: Hardware["board"], i: number): number {
  const last = board === "q35" ? 5 : 3;
  return i === 0 ? 1 : last;
}

/** How long a guest may take to let go of it before we look again later. */
const LET_GO_MS = 3000;
const LOOK_MS = 100;
const ATTEMPTS = 10;
const LOCKED =
  "the guest has locked the drive; it is asked again and again (force: true takes out what is in it all the same)";

/** Has in the drive what is to be in it. @returns why it is not; undefined when it is. @throws QmpError; while the new one cannot be opened, what was in it stays */
export async function setMedium(qmp: Qmp, { name, path, force = false }: Cd): Promise<string | undefined> {
  const id = deviceOf(name);
  const before = await look(qmp, name);
  if (!before) return "the run began without this drive";
  const wanted = path === undefined ? undefined : nodeOf(name, path);
  if (before.node !== wanted) {
    if (path !== undefined && !(await nodesOf(qmp, name)).includes(wanted ?? ""))
      await qmp.execute("blockdev-add", medium(name, path));
    if (!(await change(qmp, name, wanted, force))) {
      await dropUnused(qmp, name);
      return LOCKED;
    }
  }
  // Also of an attempt that was cut short.
  if (before.node !== wanted || before.isOpen) await qmp.execute("blockdev-close-tray", { id });
  await dropUnused(qmp, name);
  return undefined;
}

/** @returns whether its guest let us */
async function change(qmp: Qmp, name: string, wanted: string | undefined, force: boolean): Promise<boolean> {
  const id = deviceOf(name);
  for (let attempt = 1; ; attempt++) {
    if (!(await open(qmp, name, force))) return false;
    try {
      await qmp.execute("blockdev-remove-medium", { id });
      if (wanted !== undefined) await qmp.execute("blockdev-insert-medium", { id, "node-name": wanted });
      return true;
    } catch (error) {
      // Guests and their firmware close it, too, when they look for something in it.
      const isClosed = error instanceof QmpError && error.message.includes("is not open");
      if (!isClosed || attempt === ATTEMPTS) throw error;
    }
  }
}

interface Drive {
  isOpen: boolean;
  isLocked: boolean;
  node: string | undefined;
}

async function look(qmp: Qmp, name: string): Promise<Drive | undefined> {
  const listed = await qmp.execute("query-block");
  const found = (Array.isArray(listed) ? listed : [])
    .filter(isFields)
    .find(({ qdev }) => qdev === deviceOf(name));
  return (
    found && {
      isOpen: found.tray_open === true,
      isLocked: found.locked === true,
      node: isFields(found.inserted) ? String(found.inserted["node-name"]) : undefined,
    }
  );
}

/** A drive that is locked only asks its guest, once. One that is not may be closed by the guest before we see it open. @returns whether it is open */
async function open(qmp: Qmp, name: string, force: boolean): Promise<boolean> {
  const ask = () => qmp.execute("blockdev-open-tray", { id: deviceOf(name), force });
  await ask();
  for (const deadline = Date.now() + LET_GO_MS; ; ) {
    const drive = await look(qmp, name);
    if (drive?.isOpen) return true;
    if (Date.now() > deadline) return false;
    if (drive && !drive.isLocked) await ask();
    else await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

async function nodesOf(qmp: Qmp, name: string): Promise<string[]> {
  const prefix = nodePrefix(name);
  return (await nodeNames(qmp)).filter(
    (node) => node.startsWith(prefix) && node.length === prefix.length + 8,
  );
}

/** What is in no drive; of the one that is, QEMU does not let go. */
async function dropUnused(qmp: Qmp, name: string): Promise<void> {
  const inside = (await look(qmp, name))?.node;
  for (const node of await nodesOf(qmp, name))
    if (node !== inside) await qmp.execute("blockdev-del", { "node-name": node });
}
