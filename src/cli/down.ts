/** `vireo down`: stops the machines, agents and control plane of an installation, and removes what its `up` made. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { Dnsmasq } from "../agent/network/network-dhcp.ts";
import { removeNetworking } from "../agent/network/network-leftovers.ts";
import { QemuHypervisor } from "../agent/qemu/qemu-hypervisor.ts";
import { silentLogger } from "../reconcile/log.ts";
import { openStore } from "../store/open.ts";
import { stopDaemon } from "./daemons.ts";
import { removeDevelopmentNetwork } from "./devnet.ts";
import type { StatePaths } from "./paths.ts";
import { readRecord, readSettings } from "./record.ts";
import { UserError } from "./user-error.ts";

/** How long a guest may take to shut down by itself. */
const GRACE_MS = 10_000;

/** @throws UserError when not root */
export async function down(
  paths: StatePaths,
  options: { keep: boolean },
  print: (line: string) => void,
): Promise<void> {
  const record = readRecord(paths);
  if (!record && !existsSync(paths.state)) return print(`nothing is up in ${paths.state}`);
  if (process.getuid?.() !== 0) throw new UserError("vireo down needs root. Run it with sudo.");
  if (record) {
    // The reconcilers and agents first: they would start again what is stopped here.
    await Promise.all([...record.controlPlanes, ...record.agents].map((daemon) => stopDaemon(daemon)));
    print("stopped  control plane and agents");
  }
  const hosts = join(paths.state, "hosts");
  const names = existsSync(hosts) ? readdirSync(hosts) : [];
  const machines = await Promise.all(names.map((name) => stopMachines(paths.host(name))));
  print(`stopped  ${machines.reduce((sum, n) => sum + n, 0)} machines`);
  for (const name of names) await Dnsmasq.stopAll(paths.host(name));
  if (record?.network) await removeDevelopmentNetwork(record.network);
  else if (record) for (const name of names) await removeNetworking(paths.host(name));
  if (options.keep) {
    rmSync(paths.record, { force: true });
    return print(`kept     ${paths.state}; the next \`vireo up\` starts all again as it was`);
  }
  refuseOddFolder(paths.state);
  const { store } = readSettings(paths);
  if (store) {
    await emptyStore(store);
    print(`emptied  ${store}`);
  }
  rmSync(paths.state, { recursive: true, force: true });
  print(`removed  ${paths.state}`);
}

/** In a cluster's store everything of this installation, and nothing else, lies under its prefix. */
async function emptyStore(address: string): Promise<void> {
  const store = await openStore(address);
  const { entries } = await store.range("");
  for (const { key, revision } of entries) await store.commit({ key, value: undefined, expected: revision });
  await store.close();
}

/** @returns how many ran */
async function stopMachines(hostFolder: string): Promise<number> {
  const hypervisor = new QemuHypervisor({ runDirectory: join(hostFolder, "run"), log: silentLogger });
  const running = (await hypervisor.list()).filter((machine) => machine.state !== "ended");
  await Promise.all(running.map((machine) => hypervisor.stop(machine.id, GRACE_MS)));
  return running.length;
}

/** A state folder is only removed when it looks like one: `--state /home` must not cost anybody their files. */
function refuseOddFolder(folder: string): void {
  const known = new Set([
    "audit",
    "pki",
    "store.sqlite",
    "store.sqlite-wal",
    "store.sqlite-shm",
    "kubeconfig",
    "up.json",
    "settings.json",
    "logs",
    "pool",
    "local",
    "hosts",
  ]);
  const odd = readdirSync(folder).filter((name) => !known.has(name) && !/^profile-.*\.json$/.test(name));
  if (odd.length > 0)
    throw new UserError(
      `${folder} also holds ${odd.map((name) => basename(name)).join(", ")}, which Vireo did not make; nothing in it was removed`,
    );
}
