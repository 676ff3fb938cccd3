/** Why a migration is not begun. Nothing has been touched yet: the machine stays where it is. */
import type { Client } from "../../client/client.ts";
import { heldForPower } from "../../power/kinds.ts";
import { getCondition } from "../../resource/object.ts";
import { lackOfRoom } from "../capacity.ts";
import { isHeld } from "../custody.ts";
import { acceleratorOf, type Has, lackOf, needsOf, type Pins } from "../hardware/kinds.ts";
import { Host } from "../hosts/kinds.ts";
import { Instance, type Platform, platformObstacle, type VirtualMachine } from "../kinds.ts";
import { Snapshot } from "../snapshots/kinds.ts";
import { StoragePool } from "../storage/kinds.ts";
import { type Migration, toOf } from "./kinds.ts";
import { failed, type Trouble } from "./trouble.ts";

/** What users see before any host is looked at. */
export function refuse(m: Migration, vm: VirtualMachine, source: Instance | undefined): Trouble | undefined {
  const { name } = vm.metadata;
  if (vm.metadata.deletionTimestamp) return failed(`machine ${name} is being deleted`);
  if (!vm.spec.running)
    return failed(`machine ${name} is not to run (spec.running is false); only running machines move`);
  if (vm.spec.suspended)
    return failed(`machine ${name} is suspended (spec.suspended); it may go on elsewhere when it is started`);
  if (source && isHeld(source) && source.spec.host === toOf(m))
    return failed(`machine ${name} runs on ${toOf(m)} already`);
  return undefined;
}

/** Why the host that it is to move to cannot take it. */
export async function refuseHost(
  client: Client,
  m: Migration,
  vm: VirtualMachine,
  source: Instance | undefined,
): Promise<Trouble | undefined> {
  const host = await client.get(Host, { name: toOf(m) });
  if (!host) return failed(`host ${toOf(m)} (spec.to) does not exist`);
  const ready = getCondition(host.status?.conditions, "Ready");
  if (ready?.status !== "True")
    return failed(`host ${toOf(m)} is not ready: ${ready?.message ?? "its agent has not reported yet"}`);
  if (host.spec.unschedulable) return failed(`host ${toOf(m)} takes no machines (spec.unschedulable)`);
  if (host.spec.maintenance) return failed(`host ${toOf(m)} takes no machines (spec.maintenance)`);
  const held = heldForPower(host);
  if (held) return failed(`host ${toOf(m)} takes no machines: ${held}`);
  const [from, to] = [source && (await platformBefore(client, source)), platformOf(host)];
  const why =
    from &&
    to &&
    platformObstacle(from, { ...to, accelerator: acceleratorOf(source?.spec.hardware, to.accelerator) });
  if (why) return failed(`host ${toOf(m)} cannot take it over: ${why}`);
  const { items } = await client.list(Instance, { fieldSelector: `spec.host=${toOf(m)}` });
  const demand = source?.spec ?? { ...vm.spec, vmUid: vm.metadata.uid ?? "" };
  const lacks = lackOf(needsOf({ ...demand, ...source?.status }), host.status?.facts?.qemu ?? {});
  if (lacks) return failed(`host ${toOf(m)} cannot take it over: it ${lacks}`);
  const lack = lackOfRoom(host, demand, items);
  return lack ? failed(lack) : undefined;
}

/** Whether disks in the pool have to be copied along. */
export async function isLocal(client: Client, storagePool: string): Promise<boolean> {
  const pool = await client.get(StoragePool, { name: storagePool });
  return pool !== undefined && !pool.spec.directory.shared;
}

/** What cannot be copied along. */
export async function refuseDisks(
  client: Client,
  m: Migration,
  storagePool: string,
): Promise<Trouble | undefined> {
  if (!(await isLocal(client, storagePool))) return undefined;
  const { vm, to } = m.spec;
  const { items } = await client.list(Snapshot, {
    namespace: m.metadata.namespace ?? "",
    fieldSelector: `spec.vm=${vm}`,
  });
  const there = items.filter(({ status }) => status?.phase !== "Failed");
  const where = `a storage pool that is not shared (${storagePool})`;
  const template = there.find(({ spec, status }) => spec.template || status?.template);
  if (template)
    return failed(
      `machine ${vm} has a template (snapshot ${template.metadata.name}), from which machines in ${where} were cloned: delete those, or clone them with mode Full, and then the snapshot`,
    );
  const [first, ...more] = there.filter(({ spec, status }) =>
    status?.taken ? status.taken.memory : spec.memory,
  );
  if (!first) return undefined;
  const names = `${first.metadata.name}${more.length > 0 ? ` and ${more.length} more` : ""}`;
  return failed(
    `machine ${vm} has snapshots with memory (${names}), which do not go along from ${where}; delete them before it moves${to ? ` to ${to}` : ""}`,
  );
}

/** As its agent wrote it at the start; of a run from before agents did, what its host is. */
async function platformBefore(
  client: Client,
  { status, spec }: Instance,
): Promise<(Platform & Pins) | undefined> {
  const { accelerator, cpuModel, guestCpu } = status ?? {};
  if (accelerator && cpuModel !== undefined)
    return { accelerator, cpuModel, ...(guestCpu ? { guestCpu } : {}) };
  const host = spec.host ? await client.get(Host, { name: spec.host }) : undefined;
  return host && platformOf(host);
}

function platformOf({ status }: Host): (Platform & Has) | undefined {
  const facts = status?.facts;
  return facts && { ...facts.qemu, cpuModel: facts.cpu.model };
}
