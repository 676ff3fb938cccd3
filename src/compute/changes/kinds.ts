/**
 * What of a machine changes while it runs.
 *
 *   VirtualMachine.spec ─(plan.ts: what can go to the run)─► Instance.spec ─(its agent, agent/runs/changes.ts)─► QEMU ─► Instance.status.has
 *         └─ what cannot, or has not yet ─► VirtualMachine.status.pendingChanges, with why; the next start has it all
 *
 * Disks and networks have a *port* each, by which the guest finds them: given by the VM reconciler, kept in the machine's status. A run begins with
 * some ports more than it needs; what it has where (`has`) goes along: the target of a migration, and the memory of a snapshot, need the same.
 */
import { type Static, Type } from "typebox";
import { keyedBy } from "../../resource/kind.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { FilledDrive } from "../boot/kinds.ts";
import { PlacedDisk } from "../disks/kinds.ts";
import { type Hardware, hotPlugOf } from "../hardware/kinds.ts";
import { RunInterface } from "../interfaces.ts";

/** Of one run: what it was begun with, and what it has now. */
const Cpus = Type.Integer({ minimum: 1 });
const Bytes = Type.String({ description: "A quantity." });
export const Has = Type.Object(
  {
    cpus: Type.Optional(Type.Object({ begun: Cpus, now: Cpus, most: Cpus })),
    memory: Type.Optional(
      Type.Object({
        begun: Bytes,
        modules: Type.Array(Bytes, { description: "What came since, in this order." }),
        most: Bytes,
      }),
    ),
    ports: Type.Integer({ description: "Places for disks and networks that come and go; 0: none." }),
    disks: Type.Array(PlacedDisk, keyedBy("name")),
    cdDrives: Type.Optional(Type.Array(FilledDrive, keyedBy("name"))),
    tellsGeneration: Type.Optional(
      Type.Boolean({ description: "Whether its guest is told its VM generation id." }),
    ),
    bootOrder: Type.Optional(Type.Array(Type.String(), { "x-kubernetes-list-type": "atomic" })),
    interfaces: Type.Array(RunInterface, keyedBy("mac")),
  },
  { description: "The hardware that the run has now." },
);
export type Has = Static<typeof Has>;

/** Instance.status.refused: what its agent could not do of what Instance.spec asks for. */
export const Refused = Type.Object({
  field: Type.String({ description: "disks[data]" }),
  reason: Type.String(),
});
export type Refused = Static<typeof Refused>;

export const PendingChange = Type.Object({
  field: Type.String({ description: "Of spec." }),
  from: Type.Optional(Type.String({ description: "What it runs with; absent: nothing." })),
  to: Type.Optional(Type.String({ description: "What spec asks for; absent: nothing." })),
  restart: Type.Boolean({ description: "Whether it waits for the next start; else it is being tried." }),
  reason: Type.String(),
});
export type PendingChange = Static<typeof PendingChange>;

/** More than a run needs when it begins: what may come while it lasts. */
const SPARE = 2;
const PORTS_AT_ONCE = 8;

/** How many ports a run begins with. */
export function portsFor({
  hardware,
  disks = [],
  interfaces,
}: {
  hardware?: Hardware;
  disks?: readonly { port?: number }[];
  interfaces: readonly { port?: number }[];
}): number {
  const hot = hotPlugOf(hardware);
  if (!hot.disks && !hot.nics) return 0;
  const used = [...disks, ...interfaces].flatMap(({ port }) => port ?? []);
  return PORTS_AT_ONCE * Math.ceil((Math.max(-1, ...used) + 1 + SPARE) / PORTS_AT_ONCE);
}

/**
 * Devices without a port have their places by their order: those that are named in `order` come in that order, in the places that they have together; others stay
 * where they are.
 */
export function inOrder<T>(all: readonly T[], order: readonly string[], nameOf: (one: T) => string): T[] {
  const sorted = all
    .filter((one) => order.includes(nameOf(one)))
    .sort((a, b) => order.indexOf(nameOf(a)) - order.indexOf(nameOf(b)));
  let next = 0;
  return all.map((one) => (order.includes(nameOf(one)) ? (sorted[next++] ?? one) : one));
}

/** All memory that a run has, in bytes. Of an instance of an odd shape, what can be read. */
export function memoryNow({ begun, modules }: NonNullable<Has["memory"]>): number {
  const sizes: unknown[] = [begun, ...(Array.isArray(modules) ? modules : [])];
  return sizes.reduce<number>((sum, size) => sum + bytesOf(size), 0);
}

function bytesOf(size: unknown): number {
  try {
    return parseBytes(size);
  } catch {
    return 0;
  }
}
