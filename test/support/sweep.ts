/** Before the real tests: what earlier ones that were killed have left (installations, hosts' namespaces and networks, QEMU) goes; it would be in the way. */
import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import { removeNetworking } from "../../src/agent/network/network-leftovers.ts";
import { run } from "../../src/system/run.ts";
import { abandoned, removeAbandoned } from "../../src/system/testing/owned-folder.ts";

const VIREO = resolve(import.meta.dirname, "../../vireo");

export default async function sweep(): Promise<void> {
  for (const folder of abandoned()) {
    process.stderr.write(`removing what a killed test has left in ${folder}\n`);
    // An installation knows its namespaces best.
    const isInstallation = folder.includes("vireo-stack-");
    const steps = [
      ...(isInstallation
        ? [() => run(VIREO, ["--state", folder, "down", "--keep"], { timeoutMs: 120_000 })]
        : []),
      () => removeNetworking(folder),
      () => removeAbandoned(folder),
      () => rm(`${folder}-home`, { recursive: true, force: true }),
    ];
    for (const step of steps)
      await step().catch((error: unknown) => process.stderr.write(`${folder}: ${String(error)}\n`));
  }
}
