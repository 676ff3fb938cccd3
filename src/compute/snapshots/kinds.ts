/**
 * Snapshot and Rollback, and what an agent is told to do with a machine's disks.
 *
 * Who works on the disks when: everything that changes their layers (src/agent/disks/layers.ts) is one *disk task* at a time, under a claim.
 *
 *   claim: VirtualMachine.status.disksBusy, by compare-and-swap ─► no instance of the machine can be created any more (checkInstance)
 *   ─► the list of its instances is complete; exactly one holds the disks, or none is live and the newest ran last
 *   ─► that instance's spec.diskTask ─► its agent does it ─► status.diskTask of the same id ─► results are written ─► the claim goes
 *
 * So no run starts, and none moves, while layers change; and whatever dies on the way, the task is done again from the start: each is
 * idempotent. The claim goes only when no instance has an unfinished task.
 *
 * A rollback ends the run (its agent kills it), works on the disks of the ended one, and a new run starts from there.
 */
import { isDeepStrictEqual } from "node:util";
import { type Static, Type } from "typebox";
import {
  Conditions,
  defineKind,
  immutable,
  keyedBy,
  Name,
  type ObjectOf,
  rules,
  Words,
} from "../../resource/kind.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { Has } from "../changes/kinds.ts";
import { Hardware, hardwareOf } from "../hardware/kinds.ts";
import { SecondsLeft, Sent } from "../progress.ts";

/** On a Snapshot: its files are removed before it goes. */
export const SNAPSHOT_FINALIZER = "vireo.dev/snapshot";

const Uid = (description: string) => Type.String({ description, pattern: "^[0-9a-f-]{36}$" });

/** What is known of a snapshot once it is taken; by its agent. */
export const Taken = Type.Object({
  takenTime: Type.String(),
  pauseMs: Type.Number({
    description:
      "How long writes of the guest waited; with quiescing, from the freeze to the thaw. With memory: how long the guest stood still.",
  }),
  consistent: Words(["Quiesced", "Crash", "Stopped", "Memory"], {
    description:
      "Quiesced: the guest had written out its file systems. Crash: as after a power cut. Stopped: the machine did not run. Memory: the guest goes on exactly there.",
  }),
  memory: Type.Optional(
    Type.Object(
      {
        sizeBytes: Type.Integer({ description: "What it takes in the storage pool." }),
        live: Type.Boolean({
          description:
            "Whether the guest ran while its memory was written. False where the kernel of the host does not allow it: then it stood still for pauseMs.",
        }),
        machineType: Type.String(),
        accelerator: Words(["kvm", "tcg"]),
        cpus: Type.Integer(),
        memory: Type.String(),
        networks: Type.Array(Type.String()),
        disks: Type.Optional(Type.Array(Type.String(), { description: "Data disks." })),
        has: Type.Optional(Type.Object(Has.properties)),
        guestCpu: Type.Optional(Type.String()),
        cpuModel: Type.Optional(Type.String()),
        hardware: Type.Optional(Hardware),
      },
      { description: "The memory that was kept with the disks, and the machine that it is of." },
    ),
  ),
  disks: Type.Array(
    Type.Object({
      name: Type.String(),
      sizeBytes: Type.Integer({ description: "Size of the disk as the guest sees it." }),
      usedBytes: Type.Integer({ description: "What its own layer takes in the storage pool." }),
    }),
    keyedBy("name"),
  ),
});

/** Instance.spec.diskTask. Owner: the Snapshot reconciler. */
export const DiskTask = Type.Object({
  id: Type.String({ description: "Told back in status.diskTask.id when it is done." }),
  action: Words(["Take", "Delete", "Rollback", "Lend"]),
  snapshot: Uid("The Snapshot that is taken, deleted, gone back to or lent, by uid."),
  quiesce: Type.Optional(Type.Boolean()),
  memory: Type.Optional(
    Type.Boolean({ description: "Take: with the memory. Rollback: the next run goes on with it." }),
  ),
  template: Type.Optional(Type.Boolean({ description: "Take: and lend it." })),
  rollback: Type.Optional(Uid("Rollback: which one, by uid.")),
  keep: Type.Optional(Uid("Rollback: the state before becomes this Snapshot; absent: it is lost.")),
  keepMemory: Type.Optional(
    Type.Boolean({ description: "Rollback: with the memory, if the machine runs until then." }),
  ),
});
export type DiskTask = Static<typeof DiskTask>;

/** Instance.status.diskTask. Owner: the agent. */
export const DiskTaskResult = Type.Object({
  id: Type.String(),
  phase: Words(["Done", "Failed"]),
  time: Type.String(),
  message: Type.Optional(Type.String()),
  taken: Type.Optional(Taken),
  lent: Type.Optional(Type.Boolean({ description: "Take, Lend: other machines may read its layers." })),
  tree: Type.Optional(
    Type.Array(Type.Object({ snapshot: Type.String(), parent: Type.Optional(Type.String()) }), {
      description: "All snapshots of the disks, by uid.",
      ...keyedBy("snapshot"),
    }),
  ),
  current: Type.Optional(
    Type.String({ description: "The snapshot that the disks have gone on from, by uid." }),
  ),
});

/** Status of a Snapshot or Rollback. */
const Progress = Type.Object(
  { ...Sent.properties, secondsLeft: Type.Optional(SecondsLeft) },
  {
    description:
      "How far it is with what is copied, memory or disk layers, while it goes on and its host can tell.",
  },
);
/** Instance.status.diskProgress. Owner: the agent; absent while there is nothing to tell, as of tasks that are soon over. */
export const DiskTaskProgress = Type.Object({ id: Type.String(), ...Progress.properties });

/** VirtualMachine.status.disksBusy: the claim. Owner: the Snapshot reconciler. */
export const DisksBusy = Type.Object({
  action: Words(["Take", "Delete", "Rollback", "Lend"]),
  name: Type.String({ description: "The Snapshot or Rollback." }),
  uid: Type.String(),
});

const AS_IT_IS = "cannot be changed; make another one";

export const Snapshot = defineKind({
  kind: "Snapshot",
  plural: "snapshots",
  shortNames: ["snap"],
  namespaced: true,
  description:
    "Snapshot is the state of all disks of a VirtualMachine at one instant, and of its memory when asked for. Deleting it frees its space.",
  spec: Type.Object(
    {
      vm: Name("The VirtualMachine."),
      quiesce: Type.Boolean({
        default: true,
        description:
          "Have the guest agent, when there is one, write out the file systems for the moment. Not done with memory, which holds what is not written yet.",
      }),
      memory: Type.Boolean({
        default: false,
        description: "Keep the memory of the running machine, too: a rollback goes on from this very moment.",
      }),
      template: Type.Boolean({
        default: false,
        description:
          "Machines can be cloned from it (VirtualMachine.spec.source). Set by itself with the first clone; from then on it cannot be deleted while a clone needs it.",
      }),
    },
    rules(...["vm", "quiesce", "memory"].map((field) => immutable(field, AS_IT_IS)), {
      rule: "self.template || !oldSelf.template",
      message: "a template stays one; delete it when it is not needed any more",
      fieldPath: ".template",
      reason: "FieldValueForbidden",
    }),
  ),
  // Owner of status: the Snapshot reconciler.
  status: Type.Object({
    phase: Type.Optional(Words(["Pending", "Taking", "Ready", "Failed", "Deleting"])),
    message: Type.Optional(Type.String()),
    parent: Type.Optional(Type.String({ description: "The Snapshot that it was made after, in the tree." })),
    template: Type.Optional(Type.Boolean({ description: "Its layers are lent: clones may use them." })),
    taken: Type.Optional(Taken),
    progress: Type.Optional(Progress),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "VM", type: "string", jsonPath: ".spec.vm" },
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Parent", type: "string", jsonPath: ".status.parent" },
    { name: "Memory", type: "boolean", jsonPath: ".spec.memory" },
    { name: "Template", type: "boolean", jsonPath: ".spec.template", priority: 1 },
    { name: "Consistent", type: "string", jsonPath: ".status.taken.consistent" },
    { name: "Pause (ms)", type: "number", jsonPath: ".status.taken.pauseMs" },
    { name: "Message", type: "string", jsonPath: ".status.message", priority: 1 },
  ],
  selectableFields: ["spec.vm", "status.phase"],
});
export type Snapshot = ObjectOf<typeof Snapshot>;

export const Rollback = defineKind({
  kind: "Rollback",
  plural: "rollbacks",
  namespaced: true,
  description: "Rollback takes a VirtualMachine back to one of its Snapshots.",
  spec: Type.Object(
    {
      vm: Name("The VirtualMachine."),
      snapshot: Name("The Snapshot to go back to."),
      keep: Type.Boolean({
        default: true,
        description:
          "Keep the state before as a Snapshot, named after the Rollback. Without it that state is lost.",
      }),
      keepMemory: Type.Optional(
        Type.Boolean({
          description:
            "Keep the memory of a machine that runs with the state before, so that a rollback to that goes on just here. By default when the rollback goes on with the snapshot's memory.",
        }),
      ),
      memory: Type.Boolean({
        default: true,
        description: "Go on with the snapshot's memory when it has one; without it the machine boots.",
      }),
    },
    rules(...["vm", "snapshot", "keep", "keepMemory", "memory"].map((field) => immutable(field, AS_IT_IS)), {
      rule: "self.keep || !has(self.keepMemory) || !self.keepMemory",
      message: "the memory is kept with the state before, which is not to be kept; set keep to true",
      fieldPath: ".keepMemory",
      reason: "FieldValueInvalid",
    }),
  ),
  // Owner of status: the Snapshot reconciler.
  status: Type.Object({
    phase: Type.Optional(Words(["Pending", "Running", "Succeeded", "Failed"])),
    message: Type.Optional(Type.String()),
    kept: Type.Optional(Type.String({ description: "The Snapshot that the state before is kept in." })),
    progress: Type.Optional(Progress),
    startedTime: Type.Optional(Type.String()),
    finishedTime: Type.Optional(Type.String()),
  }),
  columns: [
    { name: "VM", type: "string", jsonPath: ".spec.vm" },
    { name: "Snapshot", type: "string", jsonPath: ".spec.snapshot" },
    { name: "Kept", type: "string", jsonPath: ".status.kept" },
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Message", type: "string", jsonPath: ".status.message", priority: 1 },
  ],
  selectableFields: ["spec.vm", "status.phase"],
});
export type Rollback = ObjectOf<typeof Rollback>;

type KeptMemory = NonNullable<NonNullable<NonNullable<Snapshot["status"]>["taken"]>["memory"]>;

/**
 * What of the machine is not as it was when the snapshot's memory was kept: a guest cannot be told in the middle. In which order spec has its disks and networks does
 * not matter where `has` tells that of then.
 */
export function notTheSame(
  now: Pick<KeptMemory, "cpus" | "memory" | "networks" | "hardware"> & {
    disks?: { name: string }[];
    cdDrives?: { name: string }[];
    bootOrder?: string[];
  },
  then: KeptMemory,
): string | undefined {
  if (then.cpus !== now.cpus) return `${then.cpus} CPUs (spec.cpus is ${now.cpus})`;
  if (parseBytes(then.memory) !== parseBytes(now.memory))
    return `${then.memory} of memory (spec.memory is ${now.memory})`;
  const [was, is] = [hardwareOf(then.hardware), hardwareOf(now.hardware)];
  if (!isDeepStrictEqual(was, is)) return `other hardware (spec.hardware was ${JSON.stringify(was)})`;
  const asTold = (names: readonly string[]) => (then.has ? names.toSorted() : names);
  if (!isDeepStrictEqual(asTold(then.networks), asTold(now.networks)))
    return `the networks ${then.networks.join(", ") || "none"} (spec.networks is ${now.networks.join(", ") || "empty"})`;
  const [had, has] = [then.disks ?? [], (now.disks ?? []).map(({ name }) => name)];
  if (!isDeepStrictEqual(asTold(had), asTold(has)))
    return `the data disks ${had.join(", ") || "none"} (spec.disks has ${has.join(", ") || "none"})`;
  const drives = (of: { cdDrives?: { name: string }[] } = {}) => (of.cdDrives ?? []).map(({ name }) => name);
  if (!isDeepStrictEqual(drives(then.has), drives(now)))
    return `the CD drives ${drives(then.has).join(", ") || "none"} (spec.cdDrives has ${drives(now).join(", ") || "none"})`;
  if (!isDeepStrictEqual(then.has?.bootOrder, now.bootOrder))
    return `${then.has?.bootOrder ? `the boot order ${then.has.bootOrder.join(", ")}` : "no boot order of its own"} (spec.bootOrder is ${now.bootOrder?.join(", ") ?? "not set"})`;
  return undefined;
}
