/**
 * The file systems of a guest, frozen by the agent in it for the instant of a snapshot. Whatever goes wrong, they are thawed again: a guest that does not
 * answer may still be about to freeze, and qemu-ga does one thing after the other, so it is asked until it answers or its run is over (settle). An agent of
 * ours that dies meanwhile leaves that to the next, which asks each guest once.
 */
import type { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import type { Hypervisor, MachineId } from "../hypervisor.ts";
import { about, idOf } from "../runs/instance-status.ts";

/** A guest may need this long to write out what it has; after that the snapshot is as after a power cut. */
const FREEZE_MS = 10_000;
const THAW_MS = 10_000;
/** An agent in the guest that does not answer within this is none, or busy. */
const ANSWER_MS = 1000;
/** Tried again at once after a freeze that the guest has told. */
const ATTEMPTS = 3;
/** A guest that has not answered at so many looks (ten minutes) has no agent, or one that will not. */
const SILENT_LOOKS = 20;

interface Context {
  hypervisor: Hypervisor;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
}

export class GuestFreeze {
  readonly #c: Context;
  /** Runs that were asked to freeze, and have not been thawed yet. */
  readonly #begun = new Set<MachineId>();
  /** Those of them that do not say that they are thawed, and since when, in ms. */
  readonly #unsure = new Map<MachineId, number>();
  /** Runs whose guests have said that they are not, since this agent began, or say nothing. */
  readonly #asked = new Set<MachineId>();
  /** How often a guest was asked in vain: one without an agent would cost each look as long as one may take to answer. */
  readonly #silent = new Map<MachineId, number>();

  constructor(context: Context) {
    this.#c = context;
  }

  /** @returns whether the guest has frozen its file systems */
  async freeze(instance: Instance): Promise<boolean> {
    const id = idOf(instance);
    // It would be thawed in the middle.
    if (this.#unsure.has(id)) return false;
    if ((await this.#ask(id, "guest-ping", ANSWER_MS)) === undefined) return false;
    this.#begun.add(id);
    const count = await this.#ask(id, "guest-fsfreeze-freeze", FREEZE_MS);
    return typeof count === "number" && count > 0;
  }

  /**
   * Also when no answer to the freeze came: it may have been done, or be about to be. What is not confirmed now is settle's.
   * @param frozen the guest has said that it is
   */
  async thaw(instance: Instance, frozen: boolean): Promise<void> {
    const id = idOf(instance);
    for (let i = 0; i < (frozen ? ATTEMPTS : 1); i++)
      if (await this.#isThawed(id, frozen ? THAW_MS : ANSWER_MS)) {
        this.#begun.delete(id);
        return;
      }
    // Maybe by an agent before; most have none in them that could.
    if (!frozen && !this.#begun.has(id)) this.#asked.delete(id);
    else this.#unsettled(instance);
  }

  #unsettled(instance: Instance): void {
    const id = idOf(instance);
    if (this.#unsure.has(id)) return;
    this.#unsure.set(id, this.#c.clock.elapsed());
    const message =
      "its guest was asked to freeze its file systems for a snapshot, and does not say that they are thawed again: it is asked until it does";
    this.#c.log.warn("disks.thaw", { machine: id, reason: message });
    this.#c.events.record(about(instance), "Warning", "GuestFrozen", message);
  }

  /**
   * To be called from time to time of a guest that runs, and of which no snapshot is being taken.
   * @returns whether it may still be frozen
   */
  async settle(instance: Instance): Promise<boolean> {
    const id = idOf(instance);
    const since = this.#unsure.get(id);
    if (since === undefined) {
      if (this.#asked.has(id) || instance.status?.phase !== "Running") return false;
      const status = await this.#ask(id, "guest-fsfreeze-status", ANSWER_MS);
      const silent = (this.#silent.get(id) ?? 0) + 1;
      if (status !== undefined || silent >= SILENT_LOOKS) this.#asked.add(id);
      else this.#silent.set(id, silent);
      if (status !== "frozen") return false;
      const message = "the file systems of its guest were still frozen, as for a snapshot: they are thawed";
      this.#c.events.record(about(instance), "Warning", "GuestFrozen", message);
      await this.thaw(instance, true);
      return this.#unsure.has(id);
    }
    if (!(await this.#isThawed(id, ANSWER_MS))) return true;
    this.#begun.delete(id);
    this.#unsure.delete(id);
    const seconds = Math.round((this.#c.clock.elapsed() - since) / 1000);
    const message = `the file systems of its guest are thawed, ${seconds} s after a snapshot`;
    this.#c.events.record(about(instance), "Normal", "GuestThawed", message);
    return false;
  }

  /** Its run is over. */
  forget(instance: Instance): void {
    this.#begun.delete(idOf(instance));
    this.#unsure.delete(idOf(instance));
    this.#asked.delete(idOf(instance));
    this.#silent.delete(idOf(instance));
  }

  /** Thaws it. @returns whether it has answered that it is, or has never heard of it */
  async #isThawed(id: MachineId, timeoutMs: number): Promise<boolean> {
    if ((await this.#ask(id, "guest-fsfreeze-thaw", timeoutMs)) !== undefined) return true;
    // It refuses that: as one that cannot freeze, or because it went wrong.
    if ((await this.#ask(id, "guest-ping", ANSWER_MS)) === undefined) return false;
    return (await this.#ask(id, "guest-fsfreeze-status", ANSWER_MS)) !== "frozen";
  }

  #ask(id: MachineId, command: string, timeoutMs: number): Promise<unknown> {
    return this.#c.hypervisor.guestAgent(id, command, timeoutMs);
  }
}
