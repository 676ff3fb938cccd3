/** What is seen of a guest that runs: whether it is ready, its addresses, and what it uses. */
import type { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { UsageSampler } from "../qemu/usage.ts";
import { type Again, about, idOf, ready } from "./instance-status.ts";
import { guestAddresses, probe } from "./probe.ts";
import type { Shares } from "./shares.ts";
import type { StatusWriter } from "./status-writer.ts";

const READY_SECONDS = 300;

interface Context {
  hypervisor: Hypervisor;
  clock: Clock;
  events: EventRecorder;
}

/** Milliseconds (Intervals). */
interface Pace {
  probe: number;
  refresh: number;
  sample: number;
}

export class GuestWatch {
  readonly #c: Context;
  readonly #status: StatusWriter;
  readonly #shares: Shares;
  readonly #usage: UsageSampler;
  readonly #pace: Pace;

  constructor(context: Context, status: StatusWriter, shares: Shares, usage: UsageSampler, pace: Pace) {
    this.#c = context;
    this.#status = status;
    this.#shares = shares;
    this.#usage = usage;
    this.#pace = pace;
  }

  look(instance: Instance): Promise<Again> {
    return instance.status?.phase === "Starting" ? this.#awaitReady(instance) : this.#refresh(instance);
  }

  async #awaitReady(instance: Instance): Promise<Again> {
    const { clock, events, hypervisor } = this.#c;
    const now = () => clock.now().toISOString();
    const result = await probe(instance, hypervisor);
    if (!result.ready) {
      const started = Date.parse(instance.status?.startedTime ?? now());
      const seconds = instance.spec.readiness?.timeoutSeconds ?? READY_SECONDS;
      const message = `not ready after ${seconds} s: ${result.message}`;
      if (clock.now().getTime() - started > seconds * 1000)
        await this.#status.write(instance, ready(instance, now(), false, "NotReadyInTime", message));
      return { requeueAfterMs: this.#pace.probe };
    }
    const addresses = await this.#addresses(instance);
    await this.#status.write(instance, {
      phase: "Running",
      readyTime: now(),
      addresses,
      ...ready(instance, now(), true, "Ready", result.message),
    });
    events.record(about(instance), "Normal", "Running", `the guest is ready: ${result.message}`);
    return { requeueAfterMs: this.#pace.refresh };
  }

  async #addresses(instance: Instance): Promise<string[]> {
    const seen = await guestAddresses(this.#c.hypervisor, idOf(instance));
    return seen ?? instance.spec.interfaces.map(({ address }) => address);
  }

  async #refresh(instance: Instance): Promise<Again> {
    const addresses = await this.#addresses(instance);
    await this.#shares.set(instance);
    const moved = JSON.stringify(addresses) !== JSON.stringify(instance.status?.addresses);
    const usage = this.#usage.news(instance);
    if (moved || usage) await this.#status.writeSeen(instance, { addresses, ...(usage ? { usage } : {}) });
    // What it uses is told soon after its beginning, once two samples are there.
    const isNew = !usage && !instance.status?.usage;
    const { refresh, sample } = this.#pace;
    return { requeueAfterMs: isNew ? Math.min(refresh, 2 * sample) : refresh };
  }
}
