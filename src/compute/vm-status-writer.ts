/** Where VirtualMachine.status is written (vm-status.ts says what), and told to people when the machine's phase or host changes. */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../client/client.ts";
import type { Clock } from "../reconcile/clock.ts";
import type { EventRecorder } from "../reconcile/events.ts";
import type { Informer } from "../reconcile/informer.ts";
import { isApiError } from "../resource/errors.ts";
import { getCondition } from "../resource/object.ts";
import { ODD_RETRY_MS } from "./actions.ts";
import type { NoRoom } from "./changes/plan.ts";
import type { Host } from "./hosts/kinds.ts";
import { type Instance, VirtualMachine } from "./kinds.ts";
import type { Migration } from "./migrations/kinds.ts";
import { CRASH_LOOP, type Idle, machineStatus } from "./vm-status.ts";

export class MachineStatusWriter {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #events: EventRecorder;
  readonly #hosts: Informer<Host>;
  /** Why the host of a machine cannot give it more CPUs and memory. By uid. */
  readonly #noRoom = new Map<string, NoRoom>();

  constructor(
    { client, clock }: { client: Client; clock: Clock },
    events: EventRecorder,
    hosts: Informer<Host>,
  ) {
    this.#client = client;
    this.#clock = clock;
    this.#events = events;
    this.#hosts = hosts;
  }

  /** Why its host cannot give it more CPUs and memory; undefined when it can. */
  noRoom({ metadata: { uid = "" } }: VirtualMachine): NoRoom | undefined {
    return this.#noRoom.get(uid);
  }

  setNoRoom({ metadata: { uid = "" } }: VirtualMachine, why: NoRoom | undefined): void {
    if (why) this.#noRoom.set(uid, why);
    else this.#noRoom.delete(uid);
  }

  /** Its instances cannot all be read: nothing is decided. */
  async writeOdd(
    vm: VirtualMachine,
    instances: readonly Instance[],
    message: string,
    migrations: readonly Migration[] = [],
  ): Promise<{ requeueAfterMs: number }> {
    await this.write(vm, instances, migrations, {
      phase: "Unknown",
      reason: "InstanceInvalid",
      message,
    });
    return { requeueAfterMs: ODD_RETRY_MS };
  }

  /** @param idle why it has no live instance, when it has none @returns when it is to be looked at again although nothing has changed */
  async write(
    vm: VirtualMachine,
    instances: readonly Instance[],
    migrations: readonly Migration[],
    idle: Idle,
  ): Promise<{ requeueAfterMs: number } | undefined> {
    const now = this.#clock.now();
    const status = machineStatus({
      vm,
      instances,
      migrations,
      isSilent: (host) => isSilent(this.#hosts.get(host)),
      idle,
      noRoom: this.noRoom(vm),
      now: now.toISOString(),
    });
    // A loop of crashes is over once a run has been a good one, which no event tells.
    const again = { requeueAfterMs: 60_000 };
    const after =
      getCondition(status.conditions, CRASH_LOOP) && status.phase !== "Pending" ? again : undefined;
    if (isDeepStrictEqual(status, vm.status)) return after;
    // Somebody was faster: the informer brings the newer machine, and with it another look.
    if (!(await unlessFaster(this.#client.updateStatus(VirtualMachine, { ...vm, status })))) return undefined;
    this.#report(vm, status);
    return after;
  }

  #report(vm: VirtualMachine, status: NonNullable<VirtualMachine["status"]>): void {
    if (status.phase === vm.status?.phase && status.host === vm.status?.host) return;
    const ready = getCondition(status.conditions, "Ready");
    if (status.phase === "Running") {
      const why = status.why ? ` (${status.why})` : "";
      this.#events.record(about(vm), "Normal", "Running", `runs on ${status.host ?? "its host"}${why}`);
    } else if (status.phase === "Failed" || status.phase === "Unknown")
      this.#events.record(about(vm), "Warning", ready?.reason ?? status.phase, ready?.message ?? "");
    else if (status.phase === "Stopped" || status.phase === "Suspended")
      this.#events.record(about(vm), "Normal", status.phase, ready?.message ?? "stopped");
  }
}

/** Silent: its Ready condition is Unknown, or the host is not registered any more. Before the first heartbeat was judged: not. */
export function isSilent(host: Host | undefined): boolean {
  return !host || getCondition(host.status?.conditions, "Ready")?.status === "Unknown";
}

/** What was written; undefined: somebody else was faster. */
export const unlessFaster = <T>(write: Promise<T>): Promise<T | undefined> =>
  write.catch((error: unknown) => {
    if (isApiError(error, "Conflict", "NotFound")) return undefined;
    throw error;
  });

/** What events are about. */
export function about({ kind, metadata }: VirtualMachine) {
  const { name, namespace, uid } = metadata;
  return { kind, name, ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) };
}
