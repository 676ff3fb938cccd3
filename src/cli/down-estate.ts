/**
 * What `vireo down` has to know of an installation before it stops or destroys anything: asked of its control plane, or, where none answers,
 * read from the store itself. As it is written there, so that also odd objects count.
 */
import { existsSync } from "node:fs";
import { relative } from "node:path";
import { isResource } from "../client/answers.ts";
import { resourcePath } from "../client/discovery.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { DEFAULT_GRACE_SECONDS } from "../compute/lifecycle/kinds.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { Image } from "../images/kinds.ts";
import { Lease } from "../reconcile/kinds.ts";
import { describeError } from "../reconcile/log.ts";
import { isFields } from "../resource/fields.ts";
import type { Resource } from "../resource/object.ts";
import { openStore } from "../store/open.ts";
import { connect } from "./connect.ts";
import { isAlive } from "./daemons.ts";
import type { StatePaths } from "./paths.ts";
import { readRecord, readSettings, urlsOf } from "./record.ts";
import { itemsOf } from "./resources.ts";

const KINDS = { VirtualMachine, Instance, Image, StoragePool, Host, Lease };
/** A control plane that hangs must not keep `down` from looking into the store. */
const PATIENCE_MS = 30_000;

export type Estate = Record<keyof typeof KINDS, Resource[]>;

export const NO_ESTATE: Estate = {
  VirtualMachine: [],
  Instance: [],
  Image: [],
  StoragePool: [],
  Host: [],
  Lease: [],
};

/** @throws Error when neither a control plane nor the store can be read */
export async function readEstate(paths: StatePaths): Promise<Estate> {
  const record = readRecord(paths);
  let silent: unknown;
  if (record?.controlPlanes.some(isAlive) && existsSync(paths.kubeconfig)) {
    const client = connect(paths.kubeconfig, urlsOf(record));
    const signal = AbortSignal.timeout(PATIENCE_MS);
    try {
      return await readEach(async (kind) =>
        itemsOf(await client.request({ method: "GET", path: resourcePath(kind), signal })),
      );
    } catch (error) {
      silent = error;
    } finally {
      client.close();
    }
  }
  try {
    return await readStore(paths);
  } catch (error) {
    // A control plane that runs holds SQLite's file: why it does not answer tells more.
    throw silent ?? error;
  }
}

async function readStore(paths: StatePaths): Promise<Estate> {
  const address = readSettings(paths).store;
  if (!address && !existsSync(paths.store)) return NO_ESTATE;
  const store = await openStore(address ?? paths.store);
  try {
    return await readEach(async ({ plural }) =>
      (await store.range(`${plural}/`)).entries.flatMap(({ key, value }) => {
        const object: unknown = JSON.parse(value);
        if (!isResource(object)) throw new Error(`${key} in the store is no object`);
        return [object];
      }),
    );
  } finally {
    await store.close();
  }
}

async function readEach(
  read: (kind: (typeof KINDS)[keyof typeof KINDS]) => Promise<Resource[]>,
): Promise<Estate> {
  return {
    VirtualMachine: await read(VirtualMachine),
    Instance: await read(Instance),
    Image: await read(Image),
    StoragePool: await read(StoragePool),
    Host: await read(Host),
    Lease: await read(Lease),
  };
}

/** A field of an object of any shape. */
function at(object: Resource, ...path: string[]): unknown {
  return path.reduce<unknown>((value, name) => (isFields(value) ? value[name] : undefined), object);
}

/** "virtualmachine/web-1 in shop", as `vireo delete` calls it. */
const label = ({ metadata: { name, namespace } }: Resource) =>
  `virtualmachine/${name}${namespace && namespace !== "default" ? ` in ${namespace}` : ""}`;

const listed = (names: readonly string[]) => names.map((name) => `\n  ${name}`).join("");

/** How long the guest of a run may take to shut down, in ms. */
export function graceMsOf(instance: Resource | undefined): number {
  if (instance && at(instance, "spec", "stop", "force") === true) return 0;
  const seconds = instance && at(instance, "spec", "stop", "graceSeconds");
  return (typeof seconds === "number" ? seconds : DEFAULT_GRACE_SECONDS) * 1000;
}

/**
 * Why nothing of the estate may be destroyed, if so.
 * @param hosts those that the installation runs on this machine
 * @param bootId this machine's
 */
export function whyNot(
  { VirtualMachine: machines, Lease: leases }: Estate,
  { hosts, bootId, now }: { hosts: readonly string[]; bootId: string; now: Date },
): string | undefined {
  const others = leases.filter((lease) => isOfAnother(lease, bootId, now));
  if (others.length > 0) {
    const seconds = others.map((lease) => Math.round((now.getTime() - renewed(lease)) / 1000));
    return (
      `another machine's control plane works on the same store (it was heard from ${Math.min(...seconds)} s ago), which would be emptied under it; ` +
      "to take out only what runs on this machine: `vireo down --keep`. A machine that was started anew counts as another for 15 minutes"
    );
  }
  const guarded = machines.filter((vm) => at(vm, "spec", "deletionProtection") === true);
  if (guarded.length > 0)
    return (
      `spec.deletionProtection of these machines is true:${listed(guarded.map(label))}\n` +
      "set it to false first (vireo edit vm/NAME), while the control plane runs; `vireo down --keep` stops all and destroys nothing"
    );
  const elsewhere = machines.flatMap((vm) => {
    const host = at(vm, "status", "host");
    return typeof host === "string" && !hosts.includes(host) ? [`${label(vm)} on ${host}`] : [];
  });
  if (elsewhere.length > 0)
    return (
      `these machines are on other hosts, where they would run on with nobody to stop them:${listed(elsewhere)}\n` +
      "stop or delete them first (vireo stop, vireo delete); `vireo down --keep` stops what runs on this machine and destroys nothing. " +
      "Where such a host is gone for good, remove the state folder yourself after that"
    );
  return undefined;
}

const PREFIX = "control-plane-";

const renewed = (lease: Resource) => Date.parse(String(at(lease, "spec", "renewTime"))) || 0;

function isOfAnother(lease: Resource, bootId: string, now: Date): boolean {
  const { name } = lease.metadata;
  if (!name.startsWith(PREFIX) || name === `${PREFIX}${bootId}`) return false;
  const seconds = at(lease, "spec", "durationSeconds");
  return now.getTime() - renewed(lease) < (typeof seconds === "number" ? seconds : 0) * 1000;
}

/** What would be destroyed, a line each. */
export function victimsOf({ VirtualMachine: machines, Image: images }: Estate): string[] {
  return [...machines.map(label), ...images.map(({ metadata }) => `image/${metadata.name}`)];
}

/** Pools outside of the state folder, whose files are not touched. */
export function staysOf({ VirtualMachine: machines, StoragePool: pools }: Estate, state: string): string[] {
  return pools.flatMap((pool) => {
    const path = at(pool, "spec", "directory", "path");
    if (typeof path !== "string" || !relative(state, path).startsWith("..")) return [];
    const { name } = pool.metadata;
    const users = machines.filter((vm) => at(vm, "spec", "storagePool") === name);
    return users.length > 0
      ? [`the disks of ${users.map(({ metadata }) => metadata.name).join(", ")} in ${path} (pool ${name})`]
      : [];
  });
}

/** For an error message: what was wrong with the way to the estate. */
export const unreadable = (error: unknown): string =>
  `it cannot be told which machines are there: ${describeError(error)}`;
