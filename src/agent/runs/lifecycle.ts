/**
 * The agent's part of what a machine is told while it runs (compute/lifecycle/kinds.ts): pause, reset, stop; and of a guest that stands still or broke
 * down by itself. One step each time; nothing is kept in memory that matters.
 *
 *   panic (with dump or Pause), watchdog (Pause, Dump): QEMU stops the guest ─► dump, when asked ─► it is ended (spec.restart decides), or stands still
 */
import { memoryNow } from "../../compute/changes/kinds.ts";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { DEFAULT_KEPT_DUMPS, type Dump, isStanding, STANDING } from "../../compute/lifecycle/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { getCondition, keyOf } from "../../resource/object.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { HostEnvironment } from "../environment.ts";
import type { Hypervisor, MachineEnd, MachineState, PanicAction } from "../hypervisor.ts";
import { reasonOf } from "../reasons.ts";
import { DumpError, type Dumps } from "./dumps.ts";
import { type Again, about, type Finish, idOf, ready, type Write } from "./instance-status.ts";

/** Between two looks at a guest that stands still, or whose memory is dumped. */
const STANDING_RETRY_MS = 5000;
const DUMP_RETRY_MS = 1000;

/** Whoever stopped it, lets it go on. */
const HELD_BY_US = ["migration", "snapshot", "suspend"];

/** By MachineState.pausedBy: what keeps a guest from writing. It goes on by itself when that is over. */
const STORAGE: Readonly<Record<string, string>> = {
  "storage-full": "there is no room in its storage pool for what it writes",
  "io-error": "its disk cannot be written",
};

/** By MachineState.pausedBy: what is said of a guest that stands still. */
const MESSAGES: Readonly<Record<keyof typeof STANDING, string>> = {
  user: "paused, as spec.paused says",
  "storage-full": `the guest stands still: ${STORAGE["storage-full"]}. It goes on when there is`,
  "io-error": `the guest stands still: ${STORAGE["io-error"]}. It goes on when it can be; that is tried every 5 s`,
  "guest-panicked": "the guest's kernel has panicked, and stands still; reset or stop it",
  watchdog: "the guest did not feed its watchdog, and stands still; reset or stop it",
  "internal-error": "QEMU cannot run the guest any further (internal error); reset or stop it",
};
const isKnown = (by: string): by is keyof typeof STANDING => by in STANDING;

/** What MachineConfig.onPanic is for a run. */
export function panicAction({ spec: { onPanic } }: Instance): PanicAction {
  return onPanic?.dump || onPanic?.action === "Pause" ? "pause" : "end";
}

interface Context {
  host: string;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  clock: Clock;
  log: Logger;
  events: Pick<EventRecorder, "record">;
}

export class Lifecycle {
  readonly #c: Context;
  readonly #graceMs: number;
  readonly #write: Write;
  readonly #finish: Finish;
  /** How often the power button of one that stops was pressed by this agent. */
  readonly #pressed = new Map<string, number>();
  /** When one that could not write was last let go on by this agent. */
  readonly #triedAt = new Map<string, number>();

  /** @param graceMs how long a guest may take to shut down, when nothing is said */
  constructor(context: Context, graceMs: number, write: Write, finish: Finish) {
    this.#c = context;
    this.#graceMs = graceMs;
    this.#write = write;
    this.#finish = finish;
  }

  /** What the machine is to be told at once. */
  async steer(instance: Instance, machine: MachineState): Promise<void> {
    const { hypervisor } = this.#c;
    const paused = instance.spec.paused ?? false;
    if (paused !== (machine.paused ?? false) || (paused && machine.state === "running"))
      await hypervisor.setPaused(machine.id, paused);
    await hypervisor.setOnPanic(machine.id, panicAction(instance));
  }

  /** One step. "runs": there is nothing to be done. @param busy its disks are worked on */
  async step(instance: Instance, machine: MachineState, busy: boolean): Promise<Again | "runs"> {
    const { reset } = instance.spec;
    const isHeld = HELD_BY_US.includes(machine.pausedBy ?? "");
    if (reset && reset !== instance.status?.reset && !isHeld && !busy) return this.#reset(instance, reset);
    if (machine.state === "paused" && !isHeld) return this.#standing(instance, machine);
    const { brokeDownMs } = machine;
    const watchdogTime = brokeDownMs === undefined ? undefined : new Date(brokeDownMs).toISOString();
    if (watchdogTime && watchdogTime !== instance.status?.watchdogTime && machine.state === "running") {
      const message = "the guest did not feed its watchdog: it was reset";
      this.#c.events.record(about(instance), "Warning", "WatchdogReset", message);
      await this.#write(instance, { watchdogTime, ...this.#boots(instance, message) });
      return { requeueAfterMs: 1 };
    }
    // While its memory is kept it stands still for us: one that is paused does so before and after that, too.
    if (!isHeld) await this.#runsAgain(instance);
    return "runs";
  }

  /** While its disks are copied to another host, which may take hours: one that stands still is told of, and helped, as any. No memory goes meanwhile. */
  async whileCopied(instance: Instance, machine: MachineState): Promise<void> {
    if (HELD_BY_US.includes(machine.pausedBy ?? "")) return;
    if (machine.state === "paused") await this.#standing(instance, machine);
    if (machine.state === "running") await this.#runsAgain(instance);
  }

  async #runsAgain(instance: Instance): Promise<void> {
    if (!isStanding(getCondition(instance.status?.conditions, "Ready")?.reason ?? "")) return;
    const booted = instance.status?.phase === "Running";
    const message = booted ? "the guest runs again" : "the guest is booting";
    const [reason, now] = [booted ? "Ready" : "Booting", this.#now()];
    await this.#write(instance, ready(instance, now, booted, reason, message));
    this.#c.events.record(about(instance), "Normal", "Resumed", "the guest runs again");
  }

  async #reset(instance: Instance, request: string): Promise<Again> {
    await this.#c.hypervisor.reset(idOf(instance), request);
    await this.#write(instance, { reset: request, ...this.#boots(instance, "the guest was reset") });
    this.#c.events.record(about(instance), "Normal", "Reset", "was reset, as asked");
    return { requeueAfterMs: 1 };
  }

  /** Its guest begins anew in the same run. */
  #boots(instance: Instance, message: string) {
    const now = this.#now();
    return {
      phase: "Starting",
      startedTime: now,
      ...ready(instance, now, false, "Booting", `${message}, and is booting`),
    } as const;
  }

  // --- a guest that stands still ---

  async #standing(instance: Instance, machine: MachineState): Promise<Again> {
    const by = machine.pausedBy ?? "paused";
    if (by === "guest-panicked" || by === "watchdog") return this.#brokeDown(instance, machine, by);
    await this.#tell(instance, by);
    if (by in STORAGE) await this.#tryAgain(machine);
    return { requeueAfterMs: STANDING_RETRY_MS };
  }

  /** Each attempt that fails is an event, at which somebody looks again. */
  async #tryAgain({ id }: MachineState): Promise<void> {
    const now = this.#c.clock.elapsed();
    if (now - (this.#triedAt.get(id) ?? Number.NEGATIVE_INFINITY) < STANDING_RETRY_MS) return;
    this.#triedAt.set(id, now);
    await this.#c.hypervisor.resume(id);
  }

  /** Once for each state. */
  async #tell(instance: Instance, by: string, more = ""): Promise<void> {
    const reason = isKnown(by) ? STANDING[by] : "Paused";
    const message = `${isKnown(by) ? MESSAGES[by] : `the guest stands still (${by})`}${more}`;
    const now = getCondition(instance.status?.conditions, "Ready");
    if (now?.reason === reason && now.message === message) return;
    await this.#write(instance, ready(instance, this.#now(), false, reason, message));
    this.#c.events.record(about(instance), by === "user" ? "Normal" : "Warning", reason, message);
  }

  async #brokeDown(
    instance: Instance,
    machine: MachineState,
    by: "guest-panicked" | "watchdog",
  ): Promise<Again> {
    const { onPanic, hardware } = instance.spec;
    const panicked = by === "guest-panicked";
    const { watchdog } = hardwareOf(hardware);
    const pause = panicked ? onPanic?.action === "Pause" : watchdog === "Pause";
    const reason = panicked ? "GuestPanic" : "Watchdog";
    const wantsDump = panicked ? onPanic?.dump === true : watchdog === "Dump";
    const what = panicked ? "the guest's kernel panicked" : "the guest did not feed its watchdog";
    let more = "";
    if (wantsDump) {
      const dumped = await this.#dump(instance, machine, reason);
      if (dumped === "under way") {
        await this.#tell(instance, by, "; its memory is being dumped");
        return { requeueAfterMs: DUMP_RETRY_MS };
      }
      more = `; ${dumped}`;
    }
    if (pause) {
      await this.#tell(instance, by, more);
      return { requeueAfterMs: STANDING_RETRY_MS };
    }
    const end = { reason, message: `${what}${more}` } as const;
    await this.#c.hypervisor.kill(machine.id, end);
    return this.end(instance, end);
  }

  /** @returns what came of it, for people */
  async #dump(
    instance: Instance,
    machine: MachineState,
    reason: Dump["reason"],
  ): Promise<"under way" | string> {
    const { host, hypervisor, environment, log, events } = this.#c;
    const time = new Date(machine.brokeDownMs ?? 0).toISOString();
    const dumps = await environment.dumps(instance);
    const path = dumps.path({ reason, time, host });
    try {
      if (!(await dumps.isThere(path))) {
        // The spec may be of the next run already.
        const { memory } = instance.status?.has ?? {};
        const bytes = memory ? memoryNow(memory) : parseBytes(instance.spec.memory);
        const part = await dumps.begin(path, bytes);
        const { state } = await hypervisor.dumpMemory(machine.id, part);
        if (state === "active") return "under way";
      }
      await this.#keep(instance, dumps, path);
      return `its memory is in ${path}`;
    } catch (error) {
      if (error instanceof ApiError) throw error;
      log.warn("lifecycle.dump", { instance: keyOf(instance), error });
      await dumps.abandon(path);
      const message =
        error instanceof DumpError ? error.message : `its memory could not be dumped: ${reasonOf(error)}`;
      events.record(about(instance), "Warning", "DumpFailed", message);
      return message;
    }
  }

  async #keep(instance: Instance, dumps: Dumps, path: string): Promise<void> {
    await dumps.finish(path, instance.spec.onPanic?.keepDumps ?? DEFAULT_KEPT_DUMPS);
    const list = await dumps.list();
    const was = instance.status?.dumps?.map(({ file }) => file) ?? [];
    if (was.includes(path)) return;
    await this.#write(instance, { dumps: list });
    this.#c.events.record(about(instance), "Warning", "Dumped", `its memory is in ${path}`);
  }

  // --- the stop ladder ---

  /** Power button; again, and through the guest agent, at half time; then it is switched off. While its storage fails it, it is let go on again and again: one that stands still hears nothing. */
  async stop(instance: Instance, machine: MachineState | undefined): Promise<Again> {
    const { hypervisor, clock } = this.#c;
    const id = idOf(instance);
    const { graceSeconds, force } = instance.spec.stop ?? {};
    const graceMs = force ? 0 : graceSeconds === undefined ? this.#graceMs : graceSeconds * 1000;
    const { phase, stopTime = this.#now(), conditions } = instance.status ?? {};
    const unwritable = STORAGE[machine?.pausedBy ?? ""];
    const told = unwritable
      ? `the guest cannot be asked to shut down while it stands still: ${unwritable}`
      : "the guest is asked to shut down";
    if (phase !== "Stopping" || getCondition(conditions, "Ready")?.message !== told)
      await this.#write(instance, {
        phase: "Stopping",
        stopTime,
        ...ready(instance, this.#now(), false, "Stopping", told),
      });
    const passedMs = () => clock.now().getTime() - Date.parse(stopTime);
    const beforeMs = passedMs();
    const again = beforeMs * 2 >= graceMs;
    if (machine && beforeMs < graceMs && ((await this.#ask(machine, again)) || unwritable)) {
      // To ask it may have taken a while.
      const dueMs = Math.max(1, (again ? graceMs : graceMs / 2) - passedMs());
      return { requeueAfterMs: unwritable ? Math.min(dueMs, STANDING_RETRY_MS) : dueMs };
    }
    this.#pressed.delete(id);
    if (machine) await hypervisor.stop(id, 0);
    const late = !force && graceMs > 0 && beforeMs >= graceMs;
    const within = `within ${graceMs / 1000} s`;
    const why = unwritable
      ? `the guest could not shut down ${within}, because it stood still (${unwritable})`
      : `the guest did not shut down ${within}`;
    return this.end(instance, {
      reason: "Requested",
      message: late ? `${why}, and was switched off` : "stopped on request",
    });
  }

  /** Its process is gone, maybe in the middle of a dump, which takes as much room as its memory and is of no use. The disks are still this run's, so nobody else dumps there. */
  async end(instance: Instance, end: MachineEnd): Promise<Again> {
    await this.#c.environment
      .dumps(instance)
      .then((dumps) => dumps.dropHalf())
      .catch((error: unknown) =>
        this.#c.log.warn("lifecycle.dropHalfDump", { instance: keyOf(instance), error }),
      );
    return this.#finish(instance, end);
  }

  /** @returns whether the guest can hear that it is asked */
  async #ask(machine: MachineState, again: boolean): Promise<boolean> {
    const { hypervisor } = this.#c;
    const { id, pausedBy = "" } = machine;
    // It has to run to shut down.
    if (pausedBy === "user") await hypervisor.setPaused(id, false);
    if (pausedBy in STORAGE) await this.#tryAgain(machine);
    const pressed = this.#pressed.get(id) ?? 0;
    if (pressed > (again ? 1 : 0)) return true;
    if (!(await hypervisor.powerDown(id))) return false;
    this.#pressed.set(id, again ? 2 : 1);
    // It gives no answer when it does.
    if (again) await hypervisor.guestAgent(id, "guest-shutdown", 500);
    return true;
  }

  forget(instance: Instance): void {
    this.#pressed.delete(idOf(instance));
    this.#triedAt.delete(idOf(instance));
  }

  #now(): string {
    return this.#c.clock.now().toISOString();
  }
}
