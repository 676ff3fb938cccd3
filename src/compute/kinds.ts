/**
 * The kinds VirtualMachine and Instance, the heart of the compute room.
 *
 * A VirtualMachine is what the user asked for; an Instance is one run of it on one host. Rule 1 of the design (never two
 * writers on one disk) rests on the *chain of custody* of a VM's instances:
 *
 *   instance 1 ──predecessor── instance 2 ──predecessor── instance 3 …
 *
 *   - The VM reconciler creates instances, one successor at most for each (VirtualMachine.status.sequence is raised by
 *     compare-and-swap first, and the instance's name ends in that number, so a replay finds it instead of making two).
 *   - An instance may open its disks for writing only while its custody is *given*: it has no predecessor, or its
 *     predecessor's status.custody is `Released` (or the predecessor object is gone, which happens only after release).
 *   - `status.custody` is written by the instance's own agent alone, Held -> Released, never back; `Released` is a
 *     promise that no QEMU of that instance writes now or ever again (its process is gone, or it is stopped in postmigrate and
 *     will only be killed). The one exception: an instance that was never bound to a host (spec.host empty) is released by
 *     the VM reconciler. Silence is never release (rule 7).
 *
 * Life of a cold start:
 *   VM reconciler creates Instance (host empty) -> director sets spec.host, spec.placement -> agent: custody Held,
 *   phase Preparing (volumes, taps) -> Starting (QEMU runs) -> Running once the guest is ready (readiness) -> …
 *   spec.running=false -> agent stops it gracefully -> phase Stopped, custody Released. The VM reconciler deletes an ended
 *   instance once a newer one has had custody; the newest stays as long as the machine exists, because it says on which host
 *   the volumes were used last. Ended instances (custody Released) count for no capacity.
 *
 * Live migration (Migration reconciler + the two agents):
 *   1. Migration reconciler creates the target Instance: host=to, predecessor=source, incoming=true, template of the source.
 *   2. Target agent starts QEMU with -incoming defer, writes status.incomingAddress, phase Incoming (custody None).
 *   3. Reconciler sets source.spec.migrateTo={instance,address}. Source agent migrates (pause-before-switchover; QEMU goes on from there at
 *      once, unless disks go along: the guest waits). QEMU says "completed" at the source only once the target has it all and has said so
 *      (capability return-path). Then the source agent writes, with compare-and-swap on the resourceVersion of the object in which
 *      spec.migrateTo named the target, custody=Released, phase=HandedOver. This one write is the flip of ownership. A write whose answer was lost is read
 *      again, never assumed. If it lost against a cancel, or the target is gone: `cont` at the source.
 *   4. Target agent watches its predecessor; once it is HandedOver to this very target: `cont`, announce-self, custody Held, phase
 *      Running. A source that is Released otherwise may have run on after it sent its memory: then the target ends, never runs.
 *   5. Reconciler sees the target Running: VM.status follows, Migration Succeeded, then the source Instance is deleted.
 *   Without shared storage (spec.copyDisks of the target) the disks go along: in step 2 the target makes empty ones and lets the source write them,
 *   in step 3 the source mirrors its own into them before its memory goes, and continues only when they are the same. QEMU's locks
 *   keep nobody from running both then; this chain alone does. The copies count as the machine's disks once the target has seen the flip, and
 *   are thrown away with a target that has not; the source's go with its Instance, once the target has had custody. A run that is not a target is
 *   bound to the host of the last one that had custody (spec.disksOn).
 *   Failure before the flip: source runs on (rule 4), reconciler clears migrateTo first, then deletes the target; the reason
 *   from both ends is in the Migration. Failure after the flip: target is the VM; if it dies, the VM restarts cold from its disks.
 *
 * Deleting an Instance object: finalizer `vireo.dev/instance`, removed by its agent after the process is gone, taps are removed
 * and custody is Released (by the VM reconciler when the instance was never bound). Volumes belong to the VM, not to the
 * instance: they are destroyed only when the VirtualMachine is deleted (finalizer `vireo.dev/volumes` on the VM: the VM
 * reconciler waits until all instances are gone, and then removes the finalizer; the agent named in status.host of the last
 * instance deletes the VM's folder of volumes before it removes the instance's finalizer, when instance.spec.destroyVolumes is set).
 * Of a host that was taken out, the VM reconciler removes the finalizer of what is Released, or binds it once more, to a host that destroys what lies in a shared pool.
 */
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
} from "../resource/kind.ts";
import { Has, PendingChange, Refused } from "./changes/kinds.ts";
import { InstanceSource, Source, SourceStatus } from "./clones/kinds.ts";
import { KnownDisk, PlacedDisk } from "./disks/kinds.ts";
import { GuestTask, GuestTaskResult } from "./guest-commands/kinds.ts";
import { GenerationId, type Has as HostHas, isNamed, pins } from "./hardware/kinds.ts";
import { NetworkInterface, NetworkLimit, RunInterface } from "./interfaces.ts";
import { KEEPS_MEMORY, machineStatus, ofMachine, ofRun, runStatus, steering } from "./lifecycle/kinds.ts";
import { End, MachineUsage, machine } from "./machine.ts";
import { MigrationAddress, Stage, Transfer, Volumes, VolumesTold } from "./migrations/kinds.ts";
import { SecondsLeft, Sent } from "./progress.ts";
import { DisksBusy, DiskTask, DiskTaskProgress, DiskTaskResult } from "./snapshots/kinds.ts";
import { MachineUser } from "./users/kinds.ts";

export const INSTANCE_FINALIZER = "vireo.dev/instance";
export const VOLUMES_FINALIZER = "vireo.dev/volumes";
/** Label on an Instance: the name of its VirtualMachine. */
export const VM_LABEL = "vireo.dev/vm";

const Phase = Words([
  "Pending", // no host chosen yet, or custody not given yet
  "Preparing", // volumes and taps are being made
  "Incoming", // QEMU waits for an incoming migration
  "Starting", // QEMU runs, the guest is not ready yet
  "Running", // the guest said that it is ready
  "Stopping",
  "HandedOver", // migrated away; its QEMU is stopped for ever
  "Stopped", // ended as asked, or the guest shut down
  "Failed", // ended otherwise, or never started: see end
]);

export type Usage = Static<typeof MachineUsage>;

const LATENCY_SENSITIVITIES = ["low", "normal", "high"] as const;
export type LatencySensitivity = (typeof LATENCY_SENSITIVITIES)[number];

export const VirtualMachine = defineKind({
  kind: "VirtualMachine",
  plural: "virtualmachines",
  shortNames: ["vm", "vms"],
  namespaced: true,
  description: "VirtualMachine is a virtual machine that a user asks for.",
  spec: Type.Object(
    {
      running: Type.Boolean({ default: true, description: "Whether the machine should run." }),
      ...machine,
      source: Type.Optional(Source),
      ...steering,
      ...ofMachine,
      latencySensitivity: Type.Optional(
        Words(LATENCY_SENSITIVITIES, {
          description:
            "How much its users notice when its guest has to wait; normal by default. high: the director keeps the processors of its host less full, moves others first, and counts the time that it would stand still in a move four times. low: that time counts nothing, so it is moved rather than others.",
        }),
      ),
      networks: Type.Array(Name("Name of a Network."), {
        default: ["default"],
        maxItems: 8,
        uniqueItems: true,
        "x-kubernetes-list-type": "atomic",
        description: "One network interface for each, in this order. May be changed while it runs.",
      }),
      networkLimits: Type.Optional(
        Type.Array(NetworkLimit, {
          maxItems: 8,
          ...keyedBy("network"),
          description: "How much it may send and receive on a network. Changed while it runs.",
        }),
      ),
      deletionProtection: Type.Optional(
        Type.Boolean({
          description: "While true, the machine cannot be deleted, nor the namespace it is in.",
        }),
      ),
    },
    rules(KEEPS_MEMORY, immutable("source", "cannot be changed; make another machine", true)),
  ),
  // Owner of status: the VM reconciler.
  status: Type.Object({
    phase: Type.Optional(
      Words(
        [
          "Pending",
          "Starting",
          "Running",
          "Paused",
          "Migrating",
          "Stopping",
          "Suspending",
          "Suspended",
          "Stopped",
          "Failed",
          "Unknown",
        ],
        {
          description:
            "Paused: its guest stands still; condition Ready tells why. Unknown: its host is silent; the machine may well be running.",
        },
      ),
    ),
    sequence: Type.Optional(Type.Integer({ minimum: 0, description: "Number of the newest Instance." })),
    instance: Type.Optional(Type.String({ description: "The Instance that is the machine now." })),
    host: Type.Optional(Type.String({ description: "The host it runs on." })),
    why: Type.Optional(Type.String({ description: "Why it is on this host, in one line." })),
    interfaces: Type.Optional(
      Type.Array(NetworkInterface, {
        description: "MAC and address of each interface; kept for life.",
        ...keyedBy("network"),
      }),
    ),
    user: Type.Optional(MachineUser),
    addresses: Type.Optional(
      Type.Array(Type.String(), { description: "Addresses that the running guest has been seen to use." }),
    ),
    usage: Type.Optional(MachineUsage),
    lastEnd: Type.Optional(End),
    ...machineStatus,
    ...pins,
    source: Type.Optional(SourceStatus),
    disks: Type.Optional(
      Type.Array(KnownDisk, {
        description: "Data disks, also those that are kept without being in spec.disks.",
        ...keyedBy("name"),
      }),
    ),
    pendingChanges: Type.Optional(
      Type.Array(PendingChange, {
        description: "What of spec its run does not have; the next start has it all.",
        ...keyedBy("field"),
      }),
    ),
    restarts: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: "Automatic restarts since the last run that lasted 10 minutes.",
      }),
    ),
    // Owner of these two: the Snapshot reconciler.
    disksBusy: Type.Optional(DisksBusy),
    snapshot: Type.Optional(Type.String({ description: "The Snapshot that its disks have gone on from." })),
    // Owner: the Snapshot reconciler; of the first one, whoever starts it.
    generationId: GenerationId,
    observedGeneration: Type.Optional(Type.Integer()),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Host", type: "string", jsonPath: ".status.host" },
    { name: "Address", type: "string", jsonPath: ".status.interfaces[0].address" },
    { name: "CPUs", type: "integer", jsonPath: ".spec.cpus" },
    { name: "Memory", type: "string", jsonPath: ".spec.memory" },
    { name: "Image", type: "string", jsonPath: ".spec.image", priority: 1 },
    {
      name: "Restart For",
      type: "string",
      jsonPath: ".status.conditions[?(@.type=='RestartRequired')].message",
      priority: 1,
    },
    { name: "Used CPUs", type: "number", jsonPath: ".status.usage.cpus", priority: 1 },
    { name: "Why", type: "string", jsonPath: ".status.why", priority: 1 },
  ],
  selectableFields: ["status.phase", "status.host"],
});
export type VirtualMachine = ObjectOf<typeof VirtualMachine>;

export const Instance = defineKind({
  kind: "Instance",
  plural: "instances",
  namespaced: true,
  madeByVireo: true,
  description: "Instance is one run of a VirtualMachine on one host. Made by Vireo, not by users.",
  spec: Type.Object({
    vm: Name("The VirtualMachine."),
    vmUid: Type.String({ description: "Its uid: a new machine of the same name is another one." }),
    ...machine,
    ...steering,
    ...ofRun,
    disks: Type.Optional(Type.Array(PlacedDisk, keyedBy("name"))),
    interfaces: Type.Array(RunInterface),
    user: Type.Optional(MachineUser),
    has: Type.Optional(
      Type.Object(Has.properties, {
        description: "It begins with just this, because its predecessor has it.",
      }),
    ),
    // Owner of running, destroyVolumes: the VM reconciler. Of predecessor, incoming: whoever creates it.
    running: Type.Boolean({ default: true }),
    predecessor: Type.Optional(
      Type.String({ description: "The instance that had custody of the disks before." }),
    ),
    incoming: Type.Optional(
      Type.Boolean({ description: "Starts as the target of a live migration from its predecessor." }),
    ),
    volumesExist: Type.Optional(
      Type.Boolean({
        description: "The machine has run before: its disks must be there, and are never made anew.",
      }),
    ),
    destroyVolumes: Type.Optional(Type.Boolean()),
    source: Type.Optional(InstanceSource),
    disksOn: Type.Optional(
      Name("The host that has its disks, when its storage pool is not shared: no other can run it."),
    ),
    copyDisks: Type.Optional(Volumes),
    postCopy: Type.Optional(Type.Boolean({ description: "Its memory may still come after it runs." })),
    generationId: GenerationId,
    // What the machine was before; guestCpu of a first run: by the director, with host.
    ...pins,
    // Owner of host, placement: the director (or the Migration reconciler for an incoming one). Immutable once set.
    host: Type.Optional(Name("The host it is bound to.")),
    placement: Type.Optional(
      Type.Object({
        reason: Type.String(),
        policy: Type.Optional(Type.String()),
        plan: Type.Optional(Type.String()),
      }),
    ),
    // Owner of these two: the Migration reconciler.
    tellVolumes: Type.Optional(
      Type.String({ description: "The Migration, by uid, that needs to know what its disks are." }),
    ),
    migrateTo: Type.Optional(
      Type.Object({
        migration: Type.String(),
        instance: Type.String(),
        address: MigrationAddress,
        disksAddress: Type.Optional(MigrationAddress),
        host: Name("The target's host: whose certificate the source asks for."),
        transfer: Type.Optional(Transfer),
      }),
    ),
    // Owner: the Snapshot reconciler.
    diskTask: Type.Optional(DiskTask),
    // Owner: the GuestCommand reconciler.
    guestTask: Type.Optional(GuestTask),
  }),
  // Owner of status: the agent of spec.host; condition Scheduled: the director.
  status: Type.Object({
    phase: Type.Optional(Phase),
    custody: Type.Optional(
      Words(["None", "Held", "Released"], { description: "Whether this run may write the disks." }),
    ),
    pid: Type.Optional(Type.Integer()),
    ...runStatus,
    has: Type.Optional(Has),
    refused: Type.Optional(
      Type.Array(Refused, {
        description: "What could not be done of what spec asks for.",
        ...keyedBy("field"),
      }),
    ),
    ...pins,
    accelerator: Type.Optional(Words(["kvm", "tcg"])),
    cpuModel: Type.Optional(
      Type.String({ description: "The CPU of the host; the guest sees it when guestCpu is host." }),
    ),
    hostCpus: Type.Optional(
      Type.String({ description: "The host's CPUs that are its own (dedicatedCpus): 2-3." }),
    ),
    numaNode: Type.Optional(
      Type.Integer({ description: "The host's NUMA node that all of its own CPUs are of." }),
    ),
    incomingAddress: Type.Optional(MigrationAddress),
    incomingDisks: Type.Optional(MigrationAddress),
    volumes: Type.Optional(VolumesTold),
    startedTime: Type.Optional(Type.String()),
    readyTime: Type.Optional(Type.String()),
    addresses: Type.Optional(Type.Array(Type.String())),
    usage: Type.Optional(MachineUsage),
    end: Type.Optional(End),
    migration: Type.Optional(
      Type.Object({
        to: Type.String(),
        phase: Words(["Active", "Completed", "Failed", "Cancelled"]),
        stage: Type.Optional(Stage),
        disks: Type.Optional(Sent),
        transferredBytes: Type.Optional(Type.Integer()),
        remainingBytes: Type.Optional(Type.Integer()),
        secondsLeft: Type.Optional(SecondsLeft),
        totalMs: Type.Optional(Type.Integer()),
        downtimeMs: Type.Optional(
          Type.Integer({ description: "As QEMU reports it; includes the wait before switchover." }),
        ),
        error: Type.Optional(Type.String()),
      }),
    ),
    diskTask: Type.Optional(DiskTaskResult),
    diskProgress: Type.Optional(DiskTaskProgress),
    guestTask: Type.Optional(GuestTaskResult),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "VM", type: "string", jsonPath: ".spec.vm" },
    { name: "Host", type: "string", jsonPath: ".spec.host" },
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Custody", type: "string", jsonPath: ".status.custody" },
    { name: "PID", type: "integer", jsonPath: ".status.pid", priority: 1 },
  ],
  selectableFields: ["spec.host", "spec.vm", "status.phase"],
  indexedLabels: [VM_LABEL],
});
export type Instance = ObjectOf<typeof Instance>;

/** Whether disks were made for this run or one before it. */
export const hasVolumes = ({ spec, status }: Instance): boolean =>
  spec.volumesExist === true || spec.incoming === true || status?.startedTime !== undefined;

/**
 * Whether the machine's disks were ever this run's. Not those of the target of a migration that came to nothing: an agent says MigrationFailed
 * of no other (a target that was lost after it had taken over ends with MemoryLost, or as any machine does).
 */
export const hadCustody = ({ spec, status }: Instance): boolean =>
  status?.custody === "Held" ||
  (status?.custody === "Released" &&
    Boolean(spec.host) &&
    !(spec.incoming && status.end?.reason === "MigrationFailed"));

/** What a run's memory can go on with: a guest under kvm may have the CPU of its host, under tcg never. */
export interface Platform {
  accelerator: "kvm" | "tcg";
  cpuModel: string;
}

/** Why a run cannot go on elsewhere without being stopped; undefined when it can. */
export function platformObstacle(
  from: Platform & { guestCpu?: string },
  to: Platform & HostHas,
): string | undefined {
  if (from.accelerator !== to.accelerator)
    return `it runs its machines under ${to.accelerator}, this one began under ${from.accelerator}; only a restart takes it there`;
  if (isNamed(from.guestCpu))
    return to.guestCpus && !to.guestCpus.includes(from.guestCpu)
      ? `it cannot give guests the CPU ${from.guestCpu}, which this machine's guest has seen; only a restart with another spec.hardware.cpu takes it there`
      : undefined;
  if (from.accelerator === "kvm" && from.cpuModel !== to.cpuModel)
    return `its CPU is ${to.cpuModel}, this machine's guest has seen ${from.cpuModel} (kvm); only a restart takes it there`;
  return undefined;
}
