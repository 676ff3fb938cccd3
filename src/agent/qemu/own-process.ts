/**
 * Which process is a machine's. A QEMU that was taken over can write over what /proc tells as its command line: it would look as if it had ended, or as if it were
 * another machine's. Its id and start time are the kernel's word, and so is whom it runs as; its arguments count only where nothing else is known.
 */
import { findByArgument, hasArgument, userOf } from "../../qemu/process.ts";
import { bootId } from "../../system/boot-id.ts";
import { isSame, type ProcessIdentity } from "../../system/process.ts";
import type { MachineFolder, MachineRecord } from "./qemu-record.ts";

/** Undefined when it runs no more. */
export function processOf(folder: MachineFolder, record: MachineRecord): ProcessIdentity | undefined {
  const { process: known, bootId: boot, config } = record;
  // An agent died between its spawn and writing it down. On its way to its own user it is ours.
  if (!known) return findByArgument(folder.mark, (pid) => [config.user.uid, ours()].includes(userOf(pid)));
  if (!isSame(known)) return undefined;
  // Written by an agent that did not say which start of the host it was.
  if (boot === undefined) return hasArgument(known.pid, folder.mark) ? known : undefined;
  return boot === bootId() ? known : undefined;
}

/** Of a machine whose record is gone, or cannot be read. @param all of this host: a process that is another's is not this one's, whatever it says; asked for only where there is one */
export function leftOf(
  folder: MachineFolder,
  all: () => readonly MachineFolder[],
): ProcessIdentity | undefined {
  const isOthers = (pid: number) =>
    all().some((other) => other.path !== folder.path && recorded(other)?.pid === pid);
  return findByArgument(folder.mark, (pid) => !isOthers(pid));
}

function recorded(folder: MachineFolder): ProcessIdentity | undefined {
  try {
    const record = folder.read();
    return record?.process && processOf(folder, record);
  } catch {
    return undefined; // who lists them tells of it
  }
}

const ours = () => process.getuid?.();
