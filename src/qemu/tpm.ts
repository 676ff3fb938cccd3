/**
 * A machine's TPM 2.0: one swtpm process each, started before its QEMU and as the same user, under its own seccomp filter. It ends when that QEMU lets
 * go of its socket. Its state is in files of the machine; in a live migration QEMU hands it over.
 */
import { execFile, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { spawnEnvironment } from "./process.ts";

export interface TpmFiles {
  /** Exists, and belongs to the user. */
  stateFolder: string;
  /** Where it listens; in a folder of the user. */
  socket: string;
  log: string;
}

const START_MS = 10_000;

/**
 * @param before the command before its own: system/enclosure.ts
 * @returns ends it, for when QEMU did not start
 * @throws Error when there is no swtpm, or it ends at once; with what it said in the log
 */
export async function startTpm(
  { stateFolder, socket, log }: TpmFiles,
  before: readonly string[],
): Promise<() => void> {
  const { stdout } = await promisify(execFile)("swtpm", ["socket", "--print-capabilities"]);
  const args = ["socket", "--tpm2", "--tpmstate", `dir=${stateFolder},mode=0600`];
  args.push("--ctrl", `type=unixio,path=${socket},mode=0600`, "--seccomp", "action=kill", "--terminate");
  // It locks its state. From 0.8 on the target of a migration waits for the lock, and the source lets go of it; an older one needs a lock of its own, because
  // the source keeps its own until it ends. Only one of them runs a guest, whoever has which lock: that is decided elsewhere.
  if (stdout.includes('"cmdarg-migration"')) args.push("--migration", "incoming,release-lock-outgoing");
  else rmSync(join(stateFolder, ".lock"), { force: true });
  const said = openSync(log, "a", 0o600);
  try {
    const [program = "", ...command] = [...before, "swtpm", ...args];
    const child = spawn(program, command, {
      stdio: ["ignore", said, said],
      detached: true,
      cwd: "/",
      env: spawnEnvironment(),
    });
    child.unref();
    let ended = false;
    const over = new Promise<void>((resolve) => {
      child.on("exit", () => resolve());
      child.on("error", () => resolve());
    }).then(() => {
      ended = true;
    });
    const deadline = performance.now() + START_MS;
    while (!existsSync(socket)) {
      if (ended || performance.now() > deadline) {
        child.kill("SIGKILL");
        throw new Error("swtpm did not start");
      }
      await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 5))]);
    }
    return () => void child.kill("SIGKILL");
  } finally {
    closeSync(said);
  }
}
