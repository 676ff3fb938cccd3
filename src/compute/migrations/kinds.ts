/** The kind Migration; how one goes is told in ../kinds.ts, at the chain of custody. */
import { type Static, Type } from "typebox";
import {
  Conditions,
  defineKind,
  immutable,
  keyedBy,
  Name,
  type ObjectOf,
  Quantity,
  rules,
  Words,
} from "../../resource/kind.ts";
import { SecondsLeft, Sent } from "../progress.ts";
import { Taken } from "../snapshots/kinds.ts";

/** Label on the target Instance of a live migration: the name of its Migration. */
export const MIGRATION_LABEL = "vireo.dev/migration";

/** Nothing else may reach QEMU, for which exec:, fd: and unix: are addresses, too. */
const MIGRATION_ADDRESS = /^tcp:(\[[0-9a-fA-F:]+\]|\d{1,3}(\.\d{1,3}){3}):(\d{1,5})$/;
export const MigrationAddress = Type.String({
  pattern: MIGRATION_ADDRESS.source,
  description: "Where the target listens: tcp:IP:PORT.",
});

const Bytes = Type.Integer({ minimum: 0 });
const DiskName = Type.String({ pattern: "^[a-z0-9][a-z0-9.-]*$" });
/** As volumes.ts writes them; never a path. */
const FILE = "^[A-Za-z0-9][A-Za-z0-9._-]*$";
const File = Type.String({ pattern: FILE });

const Below = Type.Object(
  { pool: Name("A StoragePool that both hosts share."), file: File, format: Words(["qcow2", "raw"]) },
  { description: "The image that it is an overlay of, there as well as here; absent when it goes along." },
);
const LayerOf = Type.Object(
  {
    file: File,
    over: Type.Optional(
      Type.String({
        pattern: FILE,
        description: "The layer below it, when that one goes along as a file of its own.",
      }),
    ),
  },
  { description: "Its file; absent when all its layers become one." },
);
const Files = Type.Record(Type.String(), File);

/**
 * A machine's disks in a pool that its host does not share: what another host needs to know to make the same. Instance.spec.copyDisks of
 * a target: they come along from the predecessor's host, and are made empty here. Owner there: the Migration reconciler.
 */
export const Volumes = Type.Object({
  disks: Type.Array(
    Type.Object({
      name: DiskName,
      sizeBytes: Bytes,
      below: Type.Optional(Below),
      layer: Type.Optional(LayerOf),
    }),
    { ...keyedBy("name"), description: "What the guest has as disks, or had, but for its seed." },
  ),
  frozen: Type.Optional(
    Type.Array(Type.Object({ ...LayerOf.properties, sizeBytes: Bytes, below: Type.Optional(Below) }), {
      ...keyedBy("file"),
      description:
        "Layers below those of the disks, or beside them, that its snapshots froze; each after the one below it.",
    }),
  ),
  snapshots: Type.Optional(
    Type.Array(
      Type.Object({
        uid: Type.String({ pattern: "^[0-9a-f-]{36}$" }),
        state: Words(["taken", "deleted"]),
        layers: Files,
        next: Files,
        taken: Type.Optional(Taken),
      }),
      { ...keyedBy("uid"), description: "What each snapshot of it froze, by disk." },
    ),
  ),
  seedBytes: Bytes,
  origin: Type.Object(
    {
      file: File,
      boot: Type.Optional(Type.Object({ kernel: File, initrd: File, commandLine: Type.String() })),
    },
    { description: "The image's files that it was made from and boots." },
  ),
});
export type Volumes = Static<typeof Volumes>;

/** Instance.status.volumes: the answer to spec.tellVolumes. Owner: the agent. */
export const VolumesTold = Type.Object({
  to: Type.String({ description: "spec.tellVolumes" }),
  volumes: Type.Optional(Volumes),
  error: Type.Optional(Type.String({ description: "Why they cannot be told." })),
});

/** Where a move is. PostCopy: the guest is to go on at the target, the rest of its memory behind it, and nothing calls that off any more. */
export const Stage = Words(["Disks", "Memory", "PostCopy"]);

/** Of a Migration, and of the Policies that choose its machine. */
export const Transfer = Type.Object(
  {
    bandwidth: Type.Optional(
      Quantity({
        description:
          "Bytes per second that it may use of the link while the guest runs, 100Mi for instance: its disks first, in equal shares, then its memory. All there is by default.",
        minimum: 2 ** 20,
      }),
    ),
    downtimeMs: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 60_000,
        description:
          "How long the guest may stand still for the last of its memory, at most. By default 30 ms, and up to 2 s when it writes faster than can be sent; a guest that cannot be sent in that time gets less of its processors. Under TCG there is one pass over the memory, and no limit.",
      }),
    ),
    postCopy: Type.Optional(
      Type.Boolean({
        description:
          "The machine goes on at the target before all of its memory is there, and gets the rest as it needs it: it stands still for a moment only, however much it writes. But should one of the two hosts or the network between them fail in that time, the machine is lost, and starts anew from its disks.",
      }),
    ),
  },
  { description: "How it is sent to another host." },
);
export type Transfer = Static<typeof Transfer>;

/** How it is sent: each field from the first that says it, the migration itself, then the policies of its machine in the order of their weight. */
export function transferOf(said: readonly (Transfer | undefined)[]): Transfer {
  return Object.assign({}, ...[...said].reverse());
}

const ONLY_CANCEL = "field is immutable; only cancel may change; create another Migration";

/** What is said of how a machine is sent. @param policies the machine's, the first goes before the others @param own what the Migration says itself */
export const transferBy = (
  policies: readonly { spec: { transfer?: Transfer } }[],
  own?: Transfer,
): Transfer => transferOf([own, ...policies.map(({ spec }) => spec.transfer)]);

export const Migration = defineKind({
  kind: "Migration",
  plural: "migrations",
  shortNames: ["mig"],
  namespaced: true,
  description: "Migration moves a running VirtualMachine to another host without stopping it.",
  spec: Type.Object(
    {
      vm: Name("The VirtualMachine to move."),
      to: Type.Optional(Name("The host to move it to; the director chooses one when absent.")),
      reason: Type.Optional(Type.String({ description: "Why; kept as the VM's placement reason." })),
      policy: Type.Optional(Type.String()),
      plan: Type.Optional(Type.String({ description: "The Plan that asked for it." })),
      transfer: Type.Optional(Transfer),
      cancel: Type.Optional(
        Type.Boolean({
          description:
            "Set to true to call it off; no effect after the switchover, nor once post-copy has begun.",
        }),
      ),
    },
    rules(
      immutable("vm", ONLY_CANCEL),
      {
        rule: "!has(oldSelf.to) || (has(self.to) && self.to == oldSelf.to)",
        message: ONLY_CANCEL,
        fieldPath: ".to",
        reason: "FieldValueForbidden",
      },
      ...["plan", "transfer"].map((field) => immutable(field, ONLY_CANCEL, true)),
      // Given with the host, when the director chooses it.
      ...["reason", "policy"].map((field) => {
        const { rule, ...rest } = immutable(field, ONLY_CANCEL, true);
        return { ...rest, rule: `!has(oldSelf.to) || (${rule})` };
      }),
      {
        rule: "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
        message: "it was called off; create another Migration",
        fieldPath: ".cancel",
        reason: "FieldValueForbidden",
      },
    ),
  ),
  // Owner of status: the Migration reconciler.
  status: Type.Object({
    phase: Type.Optional(Words(["Pending", "Preparing", "Running", "Succeeded", "Failed", "Cancelled"])),
    source: Type.Optional(Type.String({ description: "Source instance." })),
    target: Type.Optional(Type.String({ description: "Target instance." })),
    from: Type.Optional(Type.String({ description: "Source host." })),
    startedTime: Type.Optional(
      Type.String({ description: "When it began; what it waited for before does not count." }),
    ),
    finishedTime: Type.Optional(Type.String()),
    stage: Type.Optional(Stage),
    toSendBytes: Type.Optional(
      Type.Integer({
        description:
          "How much was to be sent of its memory as it began, with what its guest would write to meanwhile by how fast it wrote then.",
      }),
    ),
    linkMbps: Type.Optional(
      Type.Integer({ description: "What it might use of the slower link of the two hosts." }),
    ),
    disks: Type.Optional(Sent),
    memory: Type.Optional(Sent),
    secondsLeft: Type.Optional(SecondsLeft),
    downtimeMs: Type.Optional(Type.Integer()),
    message: Type.Optional(Type.String()),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "VM", type: "string", jsonPath: ".spec.vm" },
    { name: "From", type: "string", jsonPath: ".status.from" },
    { name: "To", type: "string", jsonPath: ".spec.to" },
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Seconds left", type: "integer", jsonPath: ".status.secondsLeft" },
    { name: "Message", type: "string", jsonPath: ".status.message", priority: 1 },
  ],
  selectableFields: ["spec.vm", "spec.to", "spec.plan", "status.phase"],
});
export type Migration = ObjectOf<typeof Migration>;

const FINAL = ["Succeeded", "Failed", "Cancelled"];

export function isFinal(migration: Pick<Migration, "status">): boolean {
  return FINAL.includes(migration.status?.phase ?? "");
}

/** A migration that has touched instances, or may at any moment. */
export function isUnderWay(migration: Migration): boolean {
  return migration.status?.source !== undefined && !isFinal(migration);
}

/** Chosen before anything is begun. */
export const toOf = ({ spec }: Migration): string => spec.to ?? "";

export { converges, linkOf, linksOf, memoryToSend, moveMbpsOf, restMs, type Way, wayOf } from "./way.ts";

/** Of a run that sends its guest elsewhere. */
interface Sending {
  status?: { custody?: string; migration?: { to?: string; phase?: string; stage?: string } } | undefined;
}

/** Whether the guest goes on at that target before all of its memory is there, or will in a moment: the run here has nothing to go back to. */
export function isInPostCopy(source: Sending | undefined, target: string | undefined): boolean {
  const { custody, migration } = source?.status ?? {};
  if (custody === "Released" || !migration || migration.to !== target) return false;
  return migration.phase === "Active" && migration.stage === "PostCopy";
}
