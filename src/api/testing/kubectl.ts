/** Real kubectls against a test's API server: the one found first on PATH, kubectl.1.* there, and others that are named or in the cache folder. */
import { execFile, spawn } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { ApiStack } from "./stack.ts";

const folders = (process.env.PATH ?? "").split(":").filter((folder) => existsSync(folder));
const onPath = folders.map((folder) => join(folder, "kubectl")).find((path) => existsSync(path));
/** Several versions beside each other: kubectl.1.27 and the like. */
const versions = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => /^kubectl\.1\.\d+$/.test(name))
    .map((name) => join(folder, name)),
);
/** More versions to test with, as a list of paths. Debian's, unpacked beside a newer one, is looked for in the cache folder. */
const more = [
  ...(process.env.VIREO_TEST_KUBECTLS ?? "").split(":"),
  "/var/cache/vireo/kubectl-1.20/usr/bin/kubectl",
].filter((path) => path && existsSync(path));
export const KUBECTLS: readonly string[] = [...new Set([...(onPath ? [onPath] : []), ...versions, ...more])];

export interface Run {
  code: number;
  out: string;
  err: string;
}

export class Kubectl {
  readonly #path: string;
  readonly #stack: ApiStack;
  constructor(path: string, stack: ApiStack) {
    this.#path = path;
    this.#stack = stack;
  }

  #environment(extra: Record<string, string> = {}) {
    return { ...process.env, KUBECONFIG: this.#stack.kubeconfig, HOME: this.#stack.folder, ...extra };
  }

  run(args: readonly string[], extra?: Record<string, string>): Promise<Run> {
    return new Promise((resolve) => {
      execFile(this.#path, args, { env: this.#environment(extra), timeout: 60_000 }, (error, out, err) =>
        resolve({ code: error ? Number(error.code ?? -1) : 0, out, err }),
      );
    });
  }

  /** Runs it and expects success, in silence on stderr. @returns stdout */
  ok = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await this.run(args);
    const told = err.replace(/WARNING: version difference.*\n/, "");
    expect([args.join(" "), code, told]).toEqual([args.join(" "), 0, ""]);
    return out;
  };

  /** Runs it and expects failure. @returns stderr */
  fails = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await this.run(args);
    expect([args.join(" "), code === 0 ? out : ""]).toEqual([args.join(" "), ""]);
    expect(code, args.join(" ")).not.toBe(0);
    return err;
  };

  /** Starts it; `text()` is what it has printed so far. */
  start(args: readonly string[], extra?: Record<string, string>): { text: () => string; stop: () => void } {
    const child = spawn(this.#path, args, { env: this.#environment(extra) });
    let text = "";
    child.stdout.on("data", (part: Buffer) => {
      text += part.toString();
    });
    return { text: () => text, stop: () => child.kill() };
  }

  /** The client's minor version. */
  async minor(): Promise<number> {
    return Number(/"minor": "(\d+)/.exec(await this.ok("version", "--client", "-o", "json"))?.[1]);
  }

  /** Writes a manifest. @returns its path */
  manifest(name: string, text: string): string {
    const path = join(this.#stack.folder, `${name}.yaml`);
    writeFileSync(path, text);
    return path;
  }
}
