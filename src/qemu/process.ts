/** QEMU processes: how they are started, and how those are found of which nothing is written down. */
import { execFile, spawn } from "node:child_process";
import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { promisify } from "node:util";
import { identify, type ProcessIdentity, readStat } from "../system/process.ts";

/**
 * Whether it says that it is a QEMU with `text` in one of its arguments, which it can write over. One that is on its way (system/enclosure.ts) is one, too: it may be
 * held up there by a storage that hangs, and opens the disks later.
 */
export function hasArgument(pid: number, text: string): boolean {
  const args = argumentsOf(pid);
  return args.some((arg) => arg.includes("qemu-system")) && args.some((arg) => arg.includes(text));
}

/** More than what a QEMU is started with. A process may say that its arguments are as large as its memory. */
const MAX_ARGUMENTS = 2 ** 20;
/** One for all: a new one for each process of a host takes as long as a machine's whole start. */
const scratch = Buffer.allocUnsafeSlow(MAX_ARGUMENTS);

/** What a process was started with, or has written over that since; nothing when it is gone. */
export function argumentsOf(pid: number): string[] {
  let file: number | undefined;
  try {
    file = openSync(`/proc/${pid}/cmdline`, "r");
    let length = 0;
    let more = 0;
    do {
      more = readSync(file, scratch, length, MAX_ARGUMENTS - length, null);
      length += more;
    } while (more > 0 && length < MAX_ARGUMENTS);
    return scratch.toString("utf8", 0, length).split("\0");
  } catch {
    return [];
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * Finds the QEMU with `text` in its arguments: for a process that was started by an agent which died before it could write
 * down the process id. The folder of a machine's sockets is such a text; no other process has it, unless it lies.
 * @param mayBe whether it may be that process, by what the kernel says of it
 */
export function findByArgument(text: string, mayBe: (pid: number) => boolean): ProcessIdentity | undefined {
  const pids = readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && hasArgument(Number(name), text) && mayBe(Number(name)),
  );
  for (const pid of pids) {
    // On its way it forks others, which look like it before they become what they are to be.
    if (pids.includes(readStat(Number(pid))?.parent ?? "")) continue;
    const identity = identify(Number(pid));
    if (identity) return identity;
  }
  return undefined;
}

/** Whom a process runs as; undefined when it is gone. */
export function userOf(pid: number): number | undefined {
  try {
    const [, user] = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return user === undefined ? undefined : Number(user);
  } catch {
    return undefined;
  }
}

/** Of ours nothing else gets in. Programs of administrators are not on everybody's path. */
export const spawnEnvironment = () => ({
  PATH: `${process.env.PATH ?? "/usr/bin:/bin"}:/usr/sbin:/sbin`,
  LANG: "C.UTF-8",
});

export interface SpawnFiles {
  fifo: string;
  journal: string;
  stderr: string;
}

export interface Exit {
  code: number | null;
  signal: string | null;
}

export interface Spawned {
  identity: ProcessIdentity;
  /** For as long as we live: how it ended. */
  exit: Promise<Exit>;
}

/** What `spawnQemu` needs: made apart, because it takes a program, which other things need not wait for. */
export async function makeFifo(path: string): Promise<void> {
  rmSync(path, { force: true });
  await promisify(execFile)("mkfifo", ["-m", "600", path]);
}

/**
 * Starts QEMU so that it outlives us: detached, in a session of its own, as an unprivileged user (`command`: system/enclosure.ts). Its stdin is a FIFO (makeFifo) that was opened
 * for reading *and* writing and already holds `qmp_capabilities`: QEMU negotiates by itself and then writes every event to
 * its stdout, a file. So why it ended is on disk even when nobody was there. -daemonize is no choice: it needs what the seccomp
 * sandbox denies.
 *
 * `fds` are its descriptors from 3 on.
 *
 * `onSpawn` is called in the same turn as the spawn, so that the process id is on disk before anything else can happen.
 * @throws Error with the cause (no such program, not allowed to change the user)
 */
export async function spawnQemu(
  command: readonly string[],
  files: SpawnFiles,
  onSpawn: (identity: ProcessIdentity) => void,
  fds: readonly number[] = [],
): Promise<Spawned> {
  const input = openSync(files.fifo, constants.O_RDWR);
  const journal = openSync(files.journal, "a", 0o600);
  const stderr = openSync(files.stderr, "a", 0o600);
  try {
    writeSync(input, '{"execute":"qmp_capabilities"}\n');
    const [program = "", ...args] = command;
    const child = spawn(program, args, {
      stdio: [input, journal, stderr, ...fds],
      detached: true,
      cwd: "/",
      env: spawnEnvironment(),
    });
    child.unref();
    const failed = new Promise<never>((_, reject) => child.on("error", reject));
    failed.catch(() => {});
    const exit = new Promise<Exit>((resolve) =>
      child.on("exit", (code, signal) => resolve({ code, signal })),
    );
    // A zombie has its start time still: QEMU may have ended already, because its arguments are wrong.
    const stat = child.pid === undefined ? undefined : readStat(child.pid);
    if (child.pid === undefined || !stat) return await failed;
    const identity = { pid: child.pid, startTime: stat.startTime };
    onSpawn(identity);
    return { identity, exit };
  } finally {
    closeSync(input);
    closeSync(journal);
    closeSync(stderr);
  }
}
