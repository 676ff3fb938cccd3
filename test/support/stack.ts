/**
 * A whole installation of its own for a test: real processes, real QEMU, in a temporary state folder and its own namespaces.
 * Keeps the evidence (state folder with logs) when the test failed, removes everything when it passed.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { onTestFailed } from "vitest";
import { connect } from "../../src/cli/connect.ts";
import type { Daemon } from "../../src/cli/daemons.ts";
import { ensureRunning, isAlive } from "../../src/cli/daemons.ts";
import { statePaths } from "../../src/cli/paths.ts";
import { readRecord, urlsOf } from "../../src/cli/record.ts";
import type { Client } from "../../src/client/client.ts";
import { describeError } from "../../src/reconcile/log.ts";
import { freePort } from "../../src/system/testing/free-port.ts";
import { giveUp, ownFolder } from "../../src/system/testing/owned-folder.ts";

export const ROOT = resolve(import.meta.dirname, "../..");

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end; never rejects. */
export function run(
  command: string,
  args: readonly string[],
  options: { env?: Record<string, string>; timeoutMs?: number; input?: string } = {},
): Promise<Ran> {
  return new Promise((done) => {
    const child = execFile(
      command,
      args,
      {
        cwd: ROOT,
        env: { ...process.env, ...options.env },
        timeout: options.timeoutMs ?? 60_000,
        maxBuffer: 2 ** 26,
      },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : 1) : 0;
        done({ code, stdout, stderr: stderr || (error && code === 1 && !stdout ? error.message : stderr) });
      },
    );
    child.stdin?.on("error", () => {}); // it ended without reading all
    child.stdin?.end(options.input ?? "");
  });
}

/** Waits, bounded, until `look` returns something; the error says what was seen last. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  look: () => Promise<T | undefined>,
  lastSeen: () => string | Promise<string> = () => "",
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline)
      throw new Error(`${what}: not within ${timeoutMs} ms; last seen: ${await lastSeen()}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

export class Stack {
  /** For the test's own files; the state folder is the installation's alone. */
  readonly home: string;
  readonly paths: ReturnType<typeof statePaths>;
  readonly port: number;
  failed = false;

  private constructor(state: string, port: number) {
    this.home = `${state}-home`;
    mkdirSync(this.home);
    this.paths = statePaths(state);
    this.port = port;
  }

  static async create(): Promise<Stack> {
    return new Stack(ownFolder("vireo-stack-"), await freePort());
  }

  /** Call first in each test: the evidence of a failed one is kept. */
  keepEvidenceOnFailure(): void {
    onTestFailed(() => {
      this.failed = true;
    });
  }

  /** What the control planes and agents have logged. */
  logLines(): Record<string, unknown>[] {
    return readdirSync(this.paths.logs)
      .filter((file) => file.endsWith(".log"))
      .flatMap((file) => readFileSync(join(this.paths.logs, file), "utf8").split("\n"))
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  }

  vireo(
    args: readonly string[],
    options: { timeoutMs?: number; env?: Record<string, string>; input?: string } = {},
  ): Promise<Ran> {
    return run(join(ROOT, "vireo"), ["--state", this.paths.state, ...args], options);
  }

  up(
    args: readonly string[],
    options: { timeoutMs?: number; env?: Record<string, string> } = {},
  ): Promise<Ran> {
    return this.vireo(["up", "--port", String(this.port), "--detach", ...args], {
      timeoutMs: 280_000,
      ...options,
    });
  }

  kubectl(args: readonly string[], input?: string): Promise<Ran> {
    const options = {
      env: { KUBECONFIG: this.paths.kubeconfig, HOME: this.home },
      timeoutMs: 60_000,
    };
    return run("kubectl", args, input === undefined ? options : { ...options, input });
  }

  get client(): Client {
    const record = readRecord(this.paths);
    return connect(this.paths.kubeconfig, record && urlsOf(record));
  }

  /** A client of each control plane, which knows no other. */
  clients(): { url: string; client: Client }[] {
    const record = readRecord(this.paths);
    return (record ? urlsOf(record) : []).map((url) => ({
      url,
      client: connect(this.paths.kubeconfig, [url]),
    }));
  }

  /** kill -9 of the control plane or of an agent ("agent fast-1"), found by its record; resolves when it is gone. */
  async kill(name: string): Promise<void> {
    const daemon = this.daemon(name);
    if (daemon.pid !== undefined) process.kill(daemon.pid, "SIGKILL");
    await until(`the end of ${name}`, 5000, async () => (isAlive(daemon) ? undefined : true));
  }

  /** Starts again what was killed; the record keeps the new process id. */
  async restart(name: string): Promise<void> {
    const daemon = this.daemon(name);
    const started = ensureRunning(daemon);
    const record = readRecord(this.paths);
    if (!record) throw new Error("nothing is up");
    const replace = (daemon: Daemon) => (daemon.name === name ? started : daemon);
    record.controlPlanes = record.controlPlanes.map(replace);
    record.agents = record.agents.map(replace);
    const { writeFile } = await import("node:fs/promises");
    await writeFile(this.paths.record, JSON.stringify(record));
  }

  /** By its record: "control-plane", "agent fast-1". */
  daemon(name: string): Daemon {
    const record = readRecord(this.paths);
    const found = [...(record?.controlPlanes ?? []), ...(record?.agents ?? [])].find(
      (daemon) => daemon?.name === name,
    );
    if (!found) throw new Error(`no daemon ${name}`);
    return found;
  }

  logs(name: string): string {
    return readFileSync(this.daemon(name).log, "utf8");
  }

  /** Stops everything; removes it unless a test failed. */
  async destroy(): Promise<void> {
    const { state } = this.paths;
    const { code, stderr } = await this.vireo(["down", this.failed ? "--keep" : "--yes"], {
      timeoutMs: 120_000,
    });
    rmSync(this.home, { recursive: true, force: true });
    giveUp(state);
    if (this.failed) process.stderr.write(`evidence of the failed test is kept in ${state}\n`);
    else if (code !== 0) throw new Error(`vireo down --state ${state}: ${stderr}`);
  }
}

/**
 * A loop of HTTP requests beside something else: every request, the longest gap between two answers, and why any was lost. A slow answer
 * (of a busy machine) shows in the gap; lost is what was refused, reset, or not answered within 20 s.
 */
export function askInLoop(url: string): {
  stop: () => Promise<{ answered: number; lost: number; longestGapMs: number; why: string[] }>;
} {
  const controller = new AbortController();
  let [answered, longestGapMs, last] = [0, 0, performance.now()];
  const why: string[] = [];
  const loop = (async () => {
    while (!controller.signal.aborted) {
      try {
        const headers = { connection: "close" };
        const response = await fetch(url, { signal: AbortSignal.timeout(20_000), headers });
        const text = await response.text();
        if (!response.ok) throw new Error(`${response.status} ${text}`);
        const now = performance.now();
        longestGapMs = Math.max(longestGapMs, now - last);
        last = now;
        answered++;
      } catch (error) {
        why.push(describeError(error));
      }
      await new Promise((done) => setTimeout(done, 20));
    }
  })();
  return {
    stop: async () => {
      controller.abort();
      await loop;
      return { answered, lost: why.length, longestGapMs: Math.round(longestGapMs), why };
    },
  };
}
