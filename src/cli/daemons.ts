/**
 * The background processes of an installation (control plane, agents): started detached with their output in a log file,
 * known again by process id and start time, so that a reused id is never mistaken for one of them.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { identify } from "../system/process.ts";
import { endOfFile, LOG_FILE } from "./own-log.ts";
import { ROOT } from "./paths.ts";

export interface Daemon {
  /** "control-plane" or "agent NAME". */
  name: string;
  /** Arguments after `vireo`. */
  args: string[];
  log: string;
  /** Network namespace it runs in. */
  namespace?: string;
  /** With a namespace: a folder that it, and what it starts, see in the place of another. */
  mount?: { from: string; at: string };
  pid?: number;
  /** Field 22 of /proc/PID/stat: clock ticks after boot. */
  startTime?: string;
}

const BIND = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';

export function isAlive(daemon: Daemon): boolean {
  return daemon.pid !== undefined && identify(daemon.pid)?.startTime === daemon.startTime;
}

/** Starts it when it does not run. The process leads a session of its own: a Ctrl-C here does not reach it. */
export function ensureRunning(daemon: Daemon): Daemon {
  if (isAlive(daemon)) return daemon;
  mkdirSync(dirname(daemon.log), { recursive: true });
  const output = openSync(daemon.log, "a", 0o600);
  const node = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    join(ROOT, "src/cli/main.ts"),
    ...daemon.args,
  ];
  // ip-netns gives it a mount namespace of its own, out of which no mount leads.
  const { mount } = daemon;
  const mounted = mount ? ["sh", "-c", BIND, "sh", mount.from, mount.at, ...node] : node;
  const [command = "", ...args] = daemon.namespace
    ? ["ip", "netns", "exec", daemon.namespace, ...mounted]
    : node;
  const child = spawn(command, args, {
    detached: true,
    stdio: ["ignore", output, output],
    cwd: "/",
    env: { ...process.env, [LOG_FILE]: daemon.log },
  });
  closeSync(output);
  child.on("error", () => {}); // seen as a process that is not alive
  child.unref();
  if (child.pid === undefined) return { ...daemon, pid: undefined, startTime: undefined };
  return { ...daemon, pid: child.pid, startTime: identify(child.pid)?.startTime };
}

/** SIGTERM, then SIGKILL after graceMs; resolves when the process is gone. */
export async function stopDaemon(daemon: Daemon, graceMs = 5000): Promise<void> {
  const send = (signal: NodeJS.Signals) => {
    try {
      if (daemon.pid !== undefined) process.kill(daemon.pid, signal);
    } catch {
      // gone in the meantime
    }
  };
  const deadline = Date.now() + graceMs;
  if (isAlive(daemon)) send("SIGTERM");
  while (isAlive(daemon)) {
    if (Date.now() > deadline) send("SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const TAIL_BYTES = 2 ** 16;

/** The last lines of its log, for an error message. */
export function tailOf(daemon: Daemon, lines = 5): string {
  try {
    return endOfFile(daemon.log, TAIL_BYTES).trimEnd().split("\n").slice(-lines).join("\n");
  } catch {
    return "";
  }
}
