/**
 * `vireo down`: stops the machines, agents and control plane of an installation, and destroys what there is of it: only with --yes, and not while
 * anything says that it is still wanted (down-estate.ts). All that may refuse is asked before anything is stopped.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { MachineState } from "../agent/hypervisor.ts";
import { Dnsmasq } from "../agent/network/network-dhcp.ts";
import { removeNetworking } from "../agent/network/network-leftovers.ts";
import { QemuHypervisor } from "../agent/qemu/qemu-hypervisor.ts";
import { VM_LABEL } from "../compute/kinds.ts";
import { silentLogger } from "../reconcile/log.ts";
import { openStore } from "../store/open.ts";
import { bootId } from "../system/boot-id.ts";
import { identify, waitForExit } from "../system/process.ts";
import { stopDaemon } from "./daemons.ts";
import { removeDevelopmentNetwork } from "./devnet.ts";
import {
  type Estate,
  graceMsOf,
  NO_ESTATE,
  readEstate,
  staysOf,
  unreadable,
  victimsOf,
  whyNot,
} from "./down-estate.ts";
import type { StatePaths } from "./paths.ts";
import { readRecord, readSettings } from "./record.ts";
import { UserError } from "./user-error.ts";

type Print = (line: string) => void;

/** A guest that may take longer to shut down is told of before. */
const TOLD_MS = 60_000;

/** @throws UserError when not root, and when something must not be destroyed, or not unasked: nothing was touched then */
export async function down(
  paths: StatePaths,
  options: { keep: boolean; yes: boolean },
  print: Print,
): Promise<void> {
  const record = readRecord(paths);
  if (!record && !existsSync(paths.state)) return print(`nothing is up in ${paths.state}`);
  if (process.getuid?.() !== 0) throw new UserError("vireo down needs root. Run it with sudo.");
  const hosts = join(paths.state, "hosts");
  const names = existsSync(hosts) ? readdirSync(hosts) : [];
  let estate = options.keep
    ? await estateToKeep(paths, print)
    : await estateToDestroy(paths, names, options.yes);
  if (record) {
    // The reconcilers and agents first: they would start again what is stopped here.
    await Promise.all([...record.controlPlanes, ...record.agents].map((daemon) => stopDaemon(daemon)));
    print("stopped  control plane and agents");
    // Somebody may have made, protected or moved one in the meantime; from now on nobody does.
    if (!options.keep) estate = await estateStill(paths, names);
  }
  const machines = await Promise.all(names.map((name) => stopMachines(paths.host(name), estate, print)));
  print(`stopped  ${machines.reduce((sum, n) => sum + n, 0)} machines`);
  for (const name of names) await Dnsmasq.stopAll(paths.host(name));
  if (record?.network) await removeDevelopmentNetwork(record.network);
  else if (record) for (const name of names) await removeNetworking(paths.host(name));
  if (options.keep) {
    rmSync(paths.record, { force: true });
    return print(`kept     ${paths.state}; the next \`vireo up\` starts all again as it was`);
  }
  const { store } = readSettings(paths);
  if (store) {
    await emptyStore(store);
    print(`emptied  ${store}`);
  }
  rmSync(paths.state, { recursive: true, force: true });
  print(`removed  ${paths.state}`);
  for (const line of staysOf(estate, paths.state)) print(`left     ${line}`);
}

/** Nothing is lost by it: where nobody can be asked, guests have the time that is usual. */
function estateToKeep(paths: StatePaths, print: Print): Promise<Estate> {
  return readEstate(paths).catch((error: unknown) => {
    print(`each guest has 30 s to shut down: ${unreadable(error)}`);
    return NO_ESTATE;
  });
}

/** @throws UserError */
async function estateToDestroy(paths: StatePaths, hosts: readonly string[], yes: boolean): Promise<Estate> {
  refuseOddFolder(paths.state);
  const estate = await readEstate(paths).catch((cause: unknown) => {
    throw new UserError(
      `${unreadable(cause)}; nothing was touched. \`vireo down --keep\` stops everything and destroys nothing`,
      { cause },
    );
  });
  const refused = whyNot(estate, { hosts, bootId: bootId(), now: new Date() });
  if (refused !== undefined) throw new UserError(`nothing was touched: ${refused}`);
  const victims = victimsOf(estate);
  if (yes) return estate;
  const lines = (all: readonly string[]) => all.map((line) => `\n  ${line}`).join("");
  const stays = staysOf(estate, paths.state);
  throw new UserError(
    `this would destroy the installation in ${paths.state} with its keys, its machines with their disks and snapshots:${victims.length > 0 ? lines(victims) : " none yet"}\n` +
      (stays.length > 0 ? `and leave${lines(stays)}\n` : "") +
      "nothing was touched; say --yes when that is meant, or --keep to stop all and keep it for the next `vireo up`",
  );
}

/** @throws UserError */
async function estateStill(paths: StatePaths, hosts: readonly string[]): Promise<Estate> {
  const estate = await readEstate(paths);
  const refused = whyNot(estate, { hosts, bootId: bootId(), now: new Date() });
  if (refused === undefined) return estate;
  throw new UserError(
    `control plane and agents are stopped, machines run on, and nothing is destroyed; \`vireo up\` goes on as before: ${refused}`,
  );
}

/** In a cluster's store everything of this installation, and nothing else, lies under its prefix. */
async function emptyStore(address: string): Promise<void> {
  const store = await openStore(address);
  const { entries } = await store.range("");
  for (const { key, revision } of entries) await store.commit({ key, value: undefined, expected: revision });
  await store.close();
}

/** @returns how many ran */
async function stopMachines(
  hostFolder: string,
  { Instance: runs }: Pick<Estate, "Instance">,
  print: Print,
): Promise<number> {
  const hypervisor = new QemuHypervisor({ runDirectory: join(hostFolder, "run"), log: silentLogger });
  const running = (await hypervisor.list()).filter((machine) => machine.state !== "ended");
  await Promise.all(
    running.map(async (machine) => {
      const run = runs.find(({ metadata }) => metadata.uid === machine.id);
      const graceMs = graceMsOf(run);
      const name = run?.metadata.labels?.[VM_LABEL] ?? run?.metadata.name ?? machine.id;
      if (graceMs > TOLD_MS) print(`waits    up to ${graceMs / 1000} s for ${name} to shut down`);
      const end = await shutDown(hypervisor, machine, graceMs);
      if (end === "shut down" || graceMs === 0) return;
      const why =
        end === "late" ? `did not shut down within ${graceMs / 1000} s` : "could not be asked to shut down";
      print(`cut off  ${name}: its guest ${why}`);
    }),
  );
  hypervisor.close();
  return running.length;
}

/** As its agent does it: power button; again, and through the guest agent, at half time; then it is switched off. @returns how its guest took it */
async function shutDown(
  hypervisor: QemuHypervisor,
  { id, pid, pausedBy }: MachineState,
  graceMs: number,
): Promise<"shut down" | "late" | "deaf"> {
  const process = identify(pid);
  let end: "late" | "deaf" = "deaf";
  // It has to run to shut down. One whose QEMU does not answer is cut off as one that cannot be asked.
  if (graceMs > 0 && pausedBy === "user") await hypervisor.setPaused(id, false).catch(() => {});
  for (const again of [false, true]) {
    if (!process || graceMs === 0 || !(await hypervisor.powerDown(id))) break;
    if (again) await hypervisor.guestAgent(id, "guest-shutdown", 500);
    if (await waitForExit(process, graceMs / 2)) return "shut down";
    end = "late";
  }
  await hypervisor.stop(id, 0);
  return end;
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
  const odd = readdirSync(folder).filter(
    (name) => !known.has(name) && !/^profile-.*\.json$|\.json\.new$/.test(name),
  );
  if (odd.length > 0)
    throw new UserError(
      `${folder} also holds ${odd.map((name) => basename(name)).join(", ")}, which Vireo did not make; nothing in it was removed`,
    );
}
