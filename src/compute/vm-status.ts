/** What VirtualMachine.status says, as a pure function of what is known. */
import { type ConditionInput, getCondition, setCondition } from "../resource/object.ts";
import type { PendingChange } from "./changes/kinds.ts";
import { livePlan, type NoRoom, tell } from "./changes/plan.ts";
import { currentOf, isHeld, isLive } from "./custody.ts";
import type { KnownDisk } from "./disks/kinds.ts";
import { isNamed, type Pins } from "./hardware/kinds.ts";
import type { Instance, VirtualMachine } from "./kinds.ts";
import { isStanding } from "./lifecycle/kinds.ts";
import { requestsDone } from "./lifecycle/requests.ts";
import { isUnderWay, type Migration } from "./migrations/kinds.ts";
import { GOOD_RUN_MS, LOOP_RESTARTS } from "./restart.ts";

type Status = NonNullable<VirtualMachine["status"]>;
type Phase = NonNullable<Status["phase"]>;

/** Why a machine without a live instance has none. */
export interface Idle {
  phase: Phase;
  reason: string;
  message: string;
  nextStartTime?: string;
}

export const pending = (reason: string, message: string): Idle => ({ phase: "Pending", reason, message });

/** The condition of a machine that ends again and again. */
export const CRASH_LOOP = "CrashLoop";

export interface MachineView {
  vm: VirtualMachine;
  /** Of this machine, oldest first. */
  instances: readonly Instance[];
  migrations: readonly Migration[];
  /** Whether nothing has been heard from a host for too long. */
  isSilent: (host: string) => boolean;
  idle: Idle;
  /** Why its host cannot give it more CPUs and memory. */
  noRoom?: NoRoom | undefined;
  now: string;
}

interface Ready extends Idle {
  status: "True" | "False" | "Unknown";
}

export function machineStatus(view: MachineView): Status {
  const { vm, instances, now } = view;
  const old = vm.status ?? {};
  const current = currentOf(instances);
  const ready = describe(view, current);
  const ended = instances.findLast(
    ({ status }) => status?.end && !["HandedOver", "MigrationFailed"].includes(status.end.reason),
  );
  const lastEnd = ended?.status?.end ?? old.lastEnd;
  const condition: ConditionInput = {
    type: "Ready",
    status: ready.status,
    reason: ready.reason,
    message: ready.message,
    observedGeneration: vm.metadata.generation ?? 0,
  };
  const pendingChanges =
    current && isLive(current) && vm.spec.running && !vm.metadata.deletionTimestamp
      ? livePlan(vm, current, view.noRoom).pending
      : [];
  const waiting = pendingChanges.filter(({ restart }) => restart);
  // What the agent says about the run (user networking, say) is said of the machine, too.
  const passedOn = (current?.status?.conditions ?? []).filter(
    (c) => !["Ready", "Scheduled", "Suspended"].includes(c.type),
  );
  const requests = requestsDone(vm, instances);
  const suspended = suspendedOf(old, instances);
  const dumps = instances.findLast(({ status }) => status?.dumps)?.status?.dumps ?? old.dumps;
  const loop = crashLoop(view, current);
  return {
    phase: ready.phase,
    ...(old.sequence === undefined ? {} : { sequence: old.sequence }),
    ...(current ? { instance: current.metadata.name } : {}),
    ...(current?.spec.host ? { host: current.spec.host } : {}),
    ...(current?.spec.placement ? { why: current.spec.placement.reason } : {}),
    ...(old.interfaces ? { interfaces: old.interfaces } : {}),
    ...(old.user === undefined ? {} : { user: old.user }),
    ...(current?.status?.addresses ? { addresses: current.status.addresses } : {}),
    ...(current?.status?.usage && ready.phase === "Running" ? { usage: current.status.usage } : {}),
    ...kept(old, current),
    ...(old.disks ? { disks: knownDisks(old.disks, current) } : {}),
    ...(pendingChanges.length > 0 ? { pendingChanges } : {}),
    ...(lastEnd ? { lastEnd } : {}),
    ...(requests ? { requests } : {}),
    ...(suspended ? { suspended } : {}),
    ...(dumps ? { dumps } : {}),
    ...(!current && view.idle.nextStartTime ? { nextStartTime: view.idle.nextStartTime } : {}),
    ...(old.restarts === undefined ? {} : { restarts: old.restarts }),
    ...(old.disksBusy ? { disksBusy: old.disksBusy } : {}),
    ...(old.snapshot ? { snapshot: old.snapshot } : {}),
    ...(old.generationId ? { generationId: old.generationId } : {}),
    ...(old.source ? { source: old.source } : {}),
    observedGeneration: vm.metadata.generation ?? 0,
    conditions: [
      ...setCondition(
        old.conditions?.filter((c) => c.type === "Ready"),
        condition,
        now,
      ),
      ...(loop ? setCondition(old.conditions?.filter(isLoop), loop, now).filter(isLoop) : []),
      ...(waiting.length > 0 ? restartRequired(vm, waiting, now) : []),
      ...passedOn,
    ],
  };
}

const isLoop = ({ type }: { type: string }) => type === CRASH_LOOP;

/** Said while it ends again and again: until a run has been a good one. */
function crashLoop(
  { vm, instances, idle, now }: MachineView,
  current: Instance | undefined,
): ConditionInput | undefined {
  const { restarts = 0 } = vm.status ?? {};
  const { startedTime } = current?.status ?? {};
  const waits = !current && idle.nextStartTime !== undefined;
  if (restarts < LOOP_RESTARTS || !(current || waits)) return undefined;
  if (startedTime && Date.parse(now) - Date.parse(startedTime) >= GOOD_RUN_MS) return undefined;
  const end = instances.findLast(({ status }) => status?.end)?.status?.end ?? vm.status?.lastEnd;
  const next = waits ? `the next start is at ${idle.nextStartTime}` : "the machine has been started again";
  return {
    type: CRASH_LOOP,
    status: "True",
    reason: end?.reason ?? "Ended",
    message: `it was started again ${restarts} times without running for 10 minutes; it ended last with ${end?.reason ?? "no word"}${end?.message ? ` (${end.message})` : ""}; ${next}`,
    observedGeneration: vm.metadata.generation ?? 0,
  };
}

/** Until a run has begun, with that memory or without. */
function suspendedOf(old: Status, instances: readonly Instance[]): Status["suspended"] {
  const newest = instances.at(-1);
  if (newest?.status?.end?.reason === "Suspended") return newest.status.suspended;
  return newest?.status?.startedTime ? undefined : old.suspended;
}

function restartRequired({ status, metadata }: VirtualMachine, waiting: PendingChange[], now: string) {
  const type = "RestartRequired";
  return setCondition(
    status?.conditions?.filter((c) => c.type === type),
    {
      type,
      status: "True",
      reason: "PendingChanges",
      message: waiting.map(tell).join("; "),
      observedGeneration: metadata.generation ?? 0,
    },
    now,
  );
}

/** A disk that a run has had is there, and is never made anew. */
const knownDisks = (known: KnownDisk[], current: Instance | undefined) =>
  known.map((disk) =>
    disk.made || current?.status?.has?.disks.some(({ name }) => name === disk.name)
      ? { ...disk, made: true }
      : disk,
  );

/** What the machine is pinned to: what its newest run that has begun was. */
function kept(old: Status, current: Instance | undefined): Pins {
  const { machineType = old.machineType, guestCpu = old.guestCpu } = current?.status ?? {};
  return { ...(machineType ? { machineType } : {}), ...(isNamed(guestCpu) ? { guestCpu } : {}) };
}

function describe(view: MachineView, current: Instance | undefined): Ready {
  const { vm, migrations, isSilent, idle } = view;
  if (!current) {
    if (vm.metadata.deletionTimestamp && idle.reason !== "InstanceInvalid")
      return {
        phase: "Stopped",
        status: "False",
        reason: "Deleting",
        message: "its volumes are being deleted",
      };
    return { ...idle, status: "False" };
  }
  const { host } = current.spec;
  const phase = current.status?.phase ?? "Pending";
  if (host && isSilent(host))
    return {
      phase: "Unknown",
      status: "Unknown",
      reason: "HostSilent",
      message: `nothing is heard from host ${host}; the machine may well be running there, so it is not started elsewhere`,
    };
  const ending = ["Stopping", "Stopped", "Failed", "HandedOver"].includes(phase);
  const own = getCondition(current.status?.conditions, "Ready");
  if (current.spec.suspend && vm.spec.running && !ending) {
    const failed = getCondition(current.status?.conditions, "Suspended");
    const message = failed?.message ?? "its memory is being kept, then it ends";
    return {
      phase: "Suspending",
      status: own?.status ?? "False",
      reason: failed?.reason ?? "Suspending",
      message,
    };
  }
  if (vm.metadata.deletionTimestamp || !vm.spec.running || !current.spec.running || ending)
    return { phase: "Stopping", status: "False", reason: "Stopping", message: "waits for the guest to stop" };
  if (!host) {
    const scheduled = getCondition(current.status?.conditions, "Scheduled");
    const message =
      scheduled?.status === "False" ? scheduled.message : "waits for the director to choose a host";
    return { phase: "Pending", status: "False", reason: scheduled?.reason ?? "Unscheduled", message };
  }
  const migration = migrations.find(isUnderWay);
  if (migration && (isHeld(current) || current.spec.incoming) && isLive(current)) {
    const running = phase === "Running";
    const moves = `moves from ${migration.status?.from ?? host} to ${migration.spec.to ?? "another host"}`;
    if (running && own && isStanding(own.reason))
      return { phase: "Migrating", status: "False", reason: own.reason, message: `${own.message}; ${moves}` };
    return {
      phase: "Migrating",
      status: running ? "True" : "False",
      reason: "Migrating",
      message: moves,
    };
  }
  if ((phase === "Running" || phase === "Starting") && own && isStanding(own.reason))
    return { phase: "Paused", status: "False", reason: own.reason, message: own.message };
  if (phase === "Running")
    return {
      phase: "Running",
      status: "True",
      reason: "Running",
      message: own?.message || `runs on ${host}`,
    };
  const message = own && own.status !== "True" && own.message ? own.message : `starts on ${host}`;
  return { phase: "Starting", status: "False", reason: own?.reason || phase, message };
}
