/** What a QEMU can be on this host, asked of itself: its machine types, and the CPU models that it can give to guests whole. */
import { execFile } from "node:child_process";
import { isFields } from "./qmp.ts";

export interface Capabilities {
  machineTypes: string[];
  guestCpus: string[];
}

const ASK = ["qmp_capabilities", "query-machines", "query-cpu-definitions", "quit"];
const VERSIONED = /^((pc-q35|pc-i440fx|virt)-\d+\.\d+|isapc)$/;
const TIMEOUT_MS = 20_000;

/** @throws Error when it does not run, or answers otherwise */
export async function readCapabilities(binary: string, accelerator: "kvm" | "tcg"): Promise<Capabilities> {
  const args = ["-accel", accelerator, "-machine", "none", "-no-user-config", "-nodefaults"];
  const answers = await ask(binary, [...args, "-display", "none", "-S", "-qmp", "stdio"]);
  const [machines, cpus] = answers.filter(Array.isArray).map((list: unknown[]) => list.filter(isFields));
  if (!machines || !cpus) throw new Error(`${binary}: does not tell what it can be`);
  return {
    machineTypes: machines
      .map(({ name }) => String(name))
      .filter((name) => VERSIONED.test(name))
      .sort(),
    guestCpus: cpus
      // Where an architecture has no such features, nothing is said of them.
      .filter(({ "unavailable-features": lacks = [] }) => Array.isArray(lacks) && lacks.length === 0)
      .map(({ name }) => String(name))
      .filter((name) => name !== "base")
      .sort(),
  };
}

/** @returns what QEMU answered to each, the greeting left out */
function ask(binary: string, args: readonly string[]): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const child = execFile(binary, args, { timeout: TIMEOUT_MS, maxBuffer: 2 ** 24 }, (error, stdout) => {
      if (error) return reject(error);
      try {
        const lines = stdout.split("\n").filter(Boolean);
        const said: unknown[] = lines.map((line) => JSON.parse(line));
        resolve(said.flatMap((each) => (isFields(each) && "return" in each ? [each.return] : [])));
      } catch (cause) {
        reject(new Error(`${binary}: its answers make no sense`, { cause }));
      }
    });
    child.stdin?.on("error", () => {}); // its exit tells
    child.stdin?.end(ASK.map((execute) => `${JSON.stringify({ execute })}\n`).join(""));
  });
}
