/** `vireo clone`: makes machines with spec.source, as `kubectl create` would, and tells how they go on. */
import { CLONED, templateName } from "../compute/clones/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Snapshot } from "../compute/snapshots/kinds.ts";
import { getCondition } from "../resource/object.ts";
import { missing } from "./missing.ts";
import { carryOut, type Standing } from "./operation.ts";
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

/** @throws UserError when one of them does not come to run */
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
    carryOut(
      client,
      VirtualMachine,
      {
        metadata: { name: each, namespace, ...(labels ? { labels } : {}) },
        spec: { ...spec, running, ...(guest ? { guest: told } : {}), ...(source ? { source } : {}) },
      },
      { ...options, standing: standingOf },
      print,
    );
  // Of a machine, one state of it for all: kept for the first.
  const [first = name, ...others] = names;
  const shared = snapshot?.metadata.name ?? templateName(first);
  await Promise.all([
    make(first, snapshot ? { snapshot: shared, mode } : { vm, mode }),
    ...others.map((each) => make(each, { snapshot: shared, mode })),
  ]);
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
