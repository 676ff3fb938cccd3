/** `vireo clone`: makes machines with spec.source, as `kubectl create` would, and tells how they go on. */
import { CLONED, templateName } from "../compute/clones/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Snapshot } from "../compute/snapshots/kinds.ts";
import { getCondition } from "../resource/object.ts";
import { missing } from "./missing.ts";
import { follow, type Standing } from "./operation.ts";
import { openSession, type Place, parseNames } from "./resources.ts";
import { UserError } from "./user-error.ts";

interface Options extends Place {
  /** "vm/web-1" or "snapshot/golden" */
  object: string;
  name: string;
  /** That many, called name-1, name-2, …; one, called name, when absent. */
  count?: number;
  mode: "Linked" | "Full" | "Instant";
  running: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

/** @throws UserError when one of them cannot be made (then none is), or does not come to run (then the others are not waited for, and go on) */
export async function clone(options: Options, print: (line: string) => void): Promise<void> {
  const { object, name, count, mode, running } = options;
  const { client, kinds, namespace = "default" } = await openSession(options);
  const [named] = parseNames(kinds, [object.includes("/") ? object : `vm/${object}`]);
  const of = named?.kind.kind;
  if (!named?.name || (of !== VirtualMachine.kind && of !== Snapshot.kind))
    throw new UserError(
      `${JSON.stringify(object)} is no machine and no snapshot; say vm/NAME or snapshot/NAME`,
    );
  const snapshot =
    of === Snapshot.kind ? await client.get(Snapshot, { name: named.name, namespace }) : undefined;
  if (of === Snapshot.kind && !snapshot) throw missing("snapshot", named.name, namespace);
  const vm = snapshot?.spec.vm ?? named.name;
  const original = await client.get(VirtualMachine, { name: vm, namespace });
  if (!original) throw missing("machine", vm, namespace);
  const {
    deletionProtection: _protected,
    source: _source,
    requests: _requests,
    paused: _paused,
    suspended: _suspended,
    discardMemory: _discard,
    guest,
    ...spec
  } = original.spec;
  // Its own name, by which others find it.
  const { hostname: _hostname, ...told } = guest ?? {};
  const { labels } = original.metadata;
  const names = count === undefined ? [name] : Array.from({ length: count }, (_, i) => `${name}-${i + 1}`);
  const make = (each: string, source: VirtualMachine["spec"]["source"]) =>
    client.create(VirtualMachine, {
      metadata: { name: each, namespace, ...(labels ? { labels } : {}) },
      spec: { ...spec, running, ...(guest ? { guest: told } : {}), ...(source ? { source } : {}) },
    });
  // Of a machine, one state of it for all: kept for the first.
  const [first = name, ...others] = names;
  const shared = snapshot?.metadata.name ?? templateName(first);
  const made: VirtualMachine["metadata"][] = [];
  try {
    made.push((await make(first, snapshot ? { snapshot: shared, mode } : { vm, mode })).metadata);
    for (const each of others) made.push((await make(each, { snapshot: shared, mode })).metadata);
  } catch (error) {
    // All of them or none: who asks again would stumble over those that are there.
    for (const { name: each, uid } of made)
      await client
        .delete(VirtualMachine, { name: each, namespace }, uid === undefined ? {} : { uid })
        .catch(() => {
          print(`virtualmachine/${each} was made and is left`);
        });
    throw error;
  }
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  await Promise.all(
    made.map((each) =>
      follow(client, VirtualMachine, each, { ...options, signal, standing: standingOf }, print).catch(
        (error: unknown) => {
          failed.abort();
          throw error;
        },
      ),
    ),
  );
}

function standingOf({ spec, status }: VirtualMachine): Standing {
  const ready = getCondition(status?.conditions, "Ready");
  const cloned = getCondition(status?.conditions, CLONED);
  const { source } = status ?? {};
  if (!spec.running && source?.ready)
    return { line: `is a clone ${source.message}; its disks are made when it is started`, over: "done" };
  if (ready?.status === "True") {
    const how = cloned ? `; ${cloned.message}` : "";
    return { line: `runs on ${status?.host} as ${status?.addresses?.[0] ?? "?"}${how}`, over: "done" };
  }
  const line = (source?.ready === false && source.message) || ready?.message || "is being made";
  return status?.phase === "Failed" ? { line, over: "failed" } : { line };
}
