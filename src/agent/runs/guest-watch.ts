/**
 * What is seen of a guest that runs: whether it is ready, its addresses, and what it uses. It is asked beside the looks at its machine: one that says nothing
 * takes seconds each time, and looks that waited for that would keep their workers from machines that are started, stopped and moved.
 */
import type { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { getCondition, keyOf } from "../../resource/object.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { UsageSampler } from "../qemu/usage.ts";
import { type Again, about, idOf, ready } from "./instance-status.ts";
import { guestAddresses, type ProbeResult, probe } from "./probe.ts";
import type { Shares } from "./shares.ts";
import type { StatusWriter } from "./status-writer.ts";

const READY_SECONDS = 300;
/** Between two questions to a guest that is not ready in time, at the most. */
const LATE_MS = 30_000;
/** One that was ready is so no more when it has not answered for as long as so many refreshes take. */
const SILENT_REFRESHES = 2;
/** The reason of such a one. */
const NOT_ANSWERING = "NotAnswering";

interface Context {
  hypervisor: Pick<Hypervisor, "guestAgent">;
  clock: Clock;
  events: Pick<EventRecorder, "record">;
  log: Logger;
}

/** Milliseconds (Intervals). */
interface Pace {
  probe: number;
  refresh: number;
  sample: number;
}

/** What a guest that began at `startedTime` has answered, which is worth a look. */
interface News extends ProbeResult {
  addresses: string[];
  startedTime: string | undefined;
}

export class GuestWatch {
  readonly #c: Context;
  readonly #status: Pick<StatusWriter, "write" | "writeSeen">;
  readonly #shares: Pick<Shares, "set">;
  readonly #usage: Pick<UsageSampler, "news">;
  readonly #pace: Pace;
  readonly #again: (key: string, delayMs: number) => void;
  /** By run: what it has answered, until somebody looks; until then "asked", or "awaited" when somebody waits for it, whatever it is. */
  readonly #answers = new Map<string, News | "asked" | "awaited">();
  /** By run: since when one that was ready does not answer, and when it was last asked; as the clock had elapsed. */
  readonly #silent = new Map<string, { since: number; last: number }>();

  /** @param again has an instance looked at */
  constructor(
    context: Context,
    status: Pick<StatusWriter, "write" | "writeSeen">,
    shares: Pick<Shares, "set">,
    usage: Pick<UsageSampler, "news">,
    pace: Pace,
    again: (key: string, delayMs: number) => void,
  ) {
    this.#c = context;
    this.#status = status;
    this.#shares = shares;
    this.#usage = usage;
    this.#pace = pace;
    this.#again = again;
  }

  async look(instance: Instance): Promise<Again> {
    const news = this.#take(instance);
    if (!news) this.#ask(instance);
    return instance.status?.phase === "Starting"
      ? this.#begins(instance, news)
      : this.#refresh(instance, news);
  }

  /** Whether its guest has a question to answer. Who keeps its memory waits for that; its instance is looked at then. */
  isAsking(instance: Instance): boolean {
    const id = idOf(instance);
    if (typeof this.#answers.get(id) !== "string") return false;
    this.#answers.set(id, "awaited");
    return true;
  }

  forget(instance: Instance): void {
    this.#answers.delete(idOf(instance));
    this.#silent.delete(idOf(instance));
  }

  #take(instance: Instance): News | undefined {
    const id = idOf(instance);
    const answer = this.#answers.get(id);
    if (answer === undefined || typeof answer === "string") return undefined;
    this.#answers.delete(id);
    // Of before a reset.
    return answer.startedTime === instance.status?.startedTime ? answer : undefined;
  }

  #ask(instance: Instance): void {
    const id = idOf(instance);
    if (this.#answers.has(id)) return;
    this.#answers.set(id, "asked");
    void this.#answerOf(instance)
      .catch((error: unknown) => this.#c.log.warn("guest.ask", { instance: keyOf(instance), error }))
      .then((answer) => {
        // It has ended meanwhile.
        if (!this.#answers.has(id)) return;
        const isAwaited = this.#answers.get(id) === "awaited";
        this.#answers.delete(id);
        const again = answer ? this.#nextMs(instance, answer) : this.#pace.refresh;
        if (answer && again === 0) this.#answers.set(id, answer);
        this.#again(keyOf(instance), isAwaited ? 0 : again);
      });
  }

  async #answerOf(instance: Instance): Promise<News> {
    const { hypervisor } = this.#c;
    const { startedTime, phase } = instance.status ?? {};
    const result = await probe(instance, hypervisor);
    const seen =
      result.ready || phase === "Running" ? await guestAddresses(hypervisor, idOf(instance)) : undefined;
    const addresses = seen ?? instance.spec.interfaces.map(({ address }) => address);
    return { ...result, addresses, startedTime };
  }

  /** When to look at it again, now that it was asked; 0: at once, what it says is news. @param instance as it was when it was asked */
  #nextMs(instance: Instance, answer: News): number {
    const { phase, addresses } = instance.status ?? {};
    if (phase === "Starting") {
      if (answer.ready) return 0;
      const isTold =
        getCondition(instance.status?.conditions, "Ready")?.message === this.#lateness(instance, answer);
      return this.#overdueMs(instance) > 0 && !isTold ? 0 : this.#pauseMs(instance);
    }
    const moved = JSON.stringify(addresses) !== JSON.stringify(answer.addresses);
    return moved || this.#readiness(instance, answer) ? 0 : this.#pace.refresh;
  }

  /** Between two questions to a guest that is not ready yet. */
  #pauseMs(instance: Instance): number {
    return Math.min(LATE_MS, Math.max(this.#pace.probe, this.#overdueMs(instance) / 10));
  }

  #overdueMs({ spec, status }: Instance): number {
    const now = this.#c.clock.now();
    const started = Date.parse(status?.startedTime ?? now.toISOString());
    return now.getTime() - started - (spec.readiness?.timeoutSeconds ?? READY_SECONDS) * 1000;
  }

  #lateness({ spec }: Instance, { message }: ProbeResult): string {
    return `not ready after ${spec.readiness?.timeoutSeconds ?? READY_SECONDS} s: ${message}`;
  }

  async #begins(instance: Instance, news: News | undefined): Promise<Again> {
    if (!news) return undefined; // its answer brings us again
    const now = this.#now();
    if (!news.ready) {
      const message = this.#lateness(instance, news);
      await this.#status.write(instance, ready(instance, now, false, "NotReadyInTime", message));
      return { requeueAfterMs: this.#pauseMs(instance) };
    }
    const { addresses, message } = news;
    await this.#status.write(instance, {
      phase: "Running",
      readyTime: now,
      addresses,
      ...ready(instance, now, true, "Ready", message),
    });
    this.#c.events.record(about(instance), "Normal", "Running", `the guest is ready: ${message}`);
    return { requeueAfterMs: this.#pace.refresh };
  }

  async #refresh(instance: Instance, news: News | undefined): Promise<Again> {
    await this.#shares.set(instance);
    const addresses = news?.addresses ?? instance.status?.addresses;
    const moved = JSON.stringify(addresses) !== JSON.stringify(instance.status?.addresses);
    const usage = this.#usage.news(instance);
    if (moved || usage)
      await this.#status.writeSeen(instance, {
        ...(addresses ? { addresses } : {}),
        ...(usage ? { usage } : {}),
      });
    const changed = news && this.#readiness(instance, news);
    if (changed) {
      const { isReady, reason, message } = changed;
      await this.#status.write(instance, ready(instance, this.#now(), isReady, reason, message));
      this.#c.events.record(about(instance), isReady ? "Normal" : "Warning", reason, message);
    }
    // What it uses is told soon after its beginning, once two samples are there.
    const isNew = !usage && !instance.status?.usage;
    const { refresh, sample } = this.#pace;
    return { requeueAfterMs: isNew ? Math.min(refresh, 2 * sample) : refresh };
  }

  /** What is to be told of a guest that was ready once; undefined: it is as it was. */
  #readiness(
    instance: Instance,
    answer: ProbeResult,
  ): { isReady: boolean; reason: string; message: string } | undefined {
    const id = idOf(instance);
    const told = getCondition(instance.status?.conditions, "Ready");
    if (answer.ready) {
      this.#silent.delete(id);
      if (told?.reason !== NOT_ANSWERING) return undefined;
      return { isReady: true, reason: "Ready", message: `the guest answers again: ${answer.message}` };
    }
    const last = this.#c.clock.elapsed();
    const before = this.#silent.get(id);
    const patienceMs = SILENT_REFRESHES * this.#pace.refresh;
    // Nobody asked it while it stood still, say.
    const since = before && last - before.last <= patienceMs ? before.since : last;
    this.#silent.set(id, { since, last });
    if (told?.status !== "True" || last - since < patienceMs) return undefined;
    const message = `it does not answer any more: ${answer.message}`;
    return { isReady: false, reason: NOT_ANSWERING, message };
  }

  #now(): string {
    return this.#c.clock.now().toISOString();
  }
}
