/** What is left of machines whose process is gone, in the run folder and among the processes of this host. */
import { readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { argumentsOf } from "../../qemu/process.ts";
import { identify, type ProcessIdentity, sendSignal } from "../../system/process.ts";
import type { Trace } from "../traces.ts";
import { leftOf, processOf } from "./own-process.ts";
import { MachineFolder } from "./qemu-record.ts";

/**
 * @param isStarting whether we are about to start a machine in the folder of this name
 * @param forget removes a folder and what belongs to it
 */
export function machineTraces(
  runDirectory: string,
  isStarting: (name: string) => boolean,
  forget: (folder: MachineFolder) => void,
): Trace[] {
  const all = () => MachineFolder.all(runDirectory);
  const folders = all().filter(({ name }) => /^[0-9a-f]{12}$/.test(name));
  const isInUse = (folder: MachineFolder) => isStarting(folder.name) || hasProcess(folder, all);
  return [
    ...folders.map((folder) => (isInUse(folder) ? lentTo(folder) : [runFolder(folder, isInUse, forget)])),
    ...swtpms(`${runDirectory}/`).map(({ process, folder }) =>
      isInUse(folder) ? [] : [swtpm(process, folder, isInUse)],
    ),
  ].flat();
}

function runFolder(
  folder: MachineFolder,
  isInUse: (folder: MachineFolder) => boolean,
  forget: (folder: MachineFolder) => void,
): Trace {
  const isOf = (uid = "") => uid.replaceAll("-", "").startsWith(folder.name);
  return {
    what: `run folder ${folder.name}`,
    isNeeded: ({ instances, oddInstances }) =>
      isInUse(folder) || [...oddInstances].some(isOf) || instances.some(({ metadata }) => isOf(metadata.uid)),
    remove: async () => {
      if (!isInUse(folder)) forget(folder);
    },
  };
}

/** Credentials, or the socket for its memory, of a QEMU that an agent which is gone had told to use them. */
function lentTo(folder: MachineFolder): Trace[] {
  const left = folder.leftLent();
  if (left.length === 0) return [];
  return [
    {
      what: `${left.map((path) => basename(path)).join(" and ")} lent to machine ${folder.name}`,
      isNeeded: () => folder.leftLent().length === 0,
      remove: async () => folder.removeLeftLent(),
    },
  ];
}

/** One waits for its QEMU for ever when that is not started after it. */
function swtpm(
  process: ProcessIdentity,
  folder: MachineFolder,
  isInUse: (folder: MachineFolder) => boolean,
): Trace {
  return {
    what: `swtpm process ${process.pid} of machine ${folder.name}`,
    isNeeded: () => isInUse(folder),
    remove: async () => {
      if (!isInUse(folder)) sendSignal(process, "SIGKILL");
    },
  };
}

function hasProcess(folder: MachineFolder, all: () => readonly MachineFolder[]): boolean {
  try {
    const record = folder.read();
    if (record) return processOf(folder, record) !== undefined;
  } catch {
    // Looked for below.
  }
  return leftOf(folder, all) !== undefined;
}

/** Ends those of a start that was cut short: a TPM's state must not be in two hands. */
export function endSwtpms(folder: MachineFolder): void {
  for (const { process } of swtpms(`${folder.path}/`)) sendSignal(process, "SIGKILL");
}

/** @param prefix of their sockets' paths */
function swtpms(prefix: string): { process: ProcessIdentity; folder: MachineFolder }[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    const args = argumentsOf(Number(pid));
    const socket = args.map((arg) => /^type=unixio,path=(.+\/s\/tpm),/.exec(arg)?.[1]).find(Boolean);
    const process = identify(Number(pid));
    if (!args.includes("swtpm") || !socket?.startsWith(prefix) || !process) return [];
    return [{ process, folder: MachineFolder.at(dirname(dirname(socket))) }];
  });
}
