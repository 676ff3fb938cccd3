/**
 * Events: why something happened, for people. Recording never blocks and never fails its caller: the report goes into a
 * bounded queue and is sent in the background. The same report again raises `count` and `lastTime` of the one Event; its name is
 * made of what it says, so that also another process (or the same after a crash) finds it.
 */
import { createHash } from "node:crypto";
import { type Client, modify } from "../client/client.ts";
import { isApiError } from "../resource/errors.ts";
import { backoffMs } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Event } from "./kinds.ts";
import { describeError, type Logger } from "./log.ts";

export interface About {
  kind: string;
  name: string;
  namespace?: string;
  uid?: string;
}

interface Pending {
  name: string;
  namespace: string;
  spec: Event["spec"];
}

const MAX_PENDING = 1000;
const ATTEMPTS = 8;
const MAX_MESSAGE = 1024;

export class EventRecorder {
  readonly #client: Client;
  readonly #reporter: string;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #host: string | undefined;
  readonly #pending = new Map<string, Pending>();
  #sending: Promise<void> | undefined;

  constructor(client: Client, reporter: string, log: Logger, clock: Clock = systemClock, host?: string) {
    this.#client = client;
    this.#reporter = reporter;
    this.#log = log;
    this.#clock = clock;
    this.#host = host;
  }

  /** Reports that something happened to an object, here in the log at once. Never throws, never blocks. */
  record(about: About, type: "Normal" | "Warning", reason: string, message: string): void {
    const now = this.#clock.now().toISOString();
    const { kind, name, namespace, uid } = about;
    const object = `${kind} ${namespace ? `${namespace}/` : ""}${name}`;
    this.#log[type === "Warning" ? "warn" : "info"]("recorded", { object, reason, message });
    const spec: Event["spec"] = {
      about: { kind, name, ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) },
      type,
      reason,
      message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE - 1)}…` : message,
      reporter: this.#reporter,
      ...(this.#host ? { host: this.#host } : {}),
      firstTime: now,
      lastTime: now,
      count: 1,
    };
    const event = { name: nameOf(spec), namespace: namespace ?? "default", spec };
    const key = `${event.namespace}/${event.name}`;
    const known = this.#pending.get(key);
    if (known) known.spec = { ...known.spec, count: known.spec.count + 1, lastTime: now };
    else if (this.#pending.size < MAX_PENDING) this.#pending.set(key, event);
    else this.#log.warn("too many unsent events, dropped one", { about, reason, message });
    this.#sending ??= this.#send();
  }

  /** Resolves when everything recorded so far was sent or given up: for tests and an orderly end. */
  async flushed(): Promise<void> {
    while (this.#sending) await this.#sending;
  }

  async #send(): Promise<void> {
    // Lets the caller go on first, and reports of the same moment come together.
    await Promise.resolve();
    for (;;) {
      const next = this.#pending.entries().next().value;
      if (!next) {
        this.#sending = undefined;
        return;
      }
      const [key, event] = next;
      this.#pending.delete(key);
      await this.#sendOne(event);
    }
  }

  async #sendOne(event: Pending): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        return await this.#write(event);
      } catch (error) {
        const hopeless = isApiError(error, "Invalid", "BadRequest", "Forbidden", "NotFound");
        if (hopeless || attempt === ATTEMPTS - 1)
          return this.#log.warn("an event was lost", {
            about: event.spec.about,
            error: describeError(error),
          });
        await this.#clock.sleep(backoffMs(attempt, { maxMs: 5000 }));
      }
    }
  }

  async #write({ name, namespace, spec }: Pending): Promise<void> {
    try {
      await this.#client.create(Event, { metadata: { name, namespace }, spec });
      return;
    } catch (error) {
      if (!isApiError(error, "AlreadyExists")) throw error;
    }
    await modify(this.#client, Event, { name, namespace }, "object", (old) => ({
      ...old,
      spec: { ...old.spec, count: old.spec.count + spec.count, lastTime: spec.lastTime },
    }));
  }
}

/** Same report, same name. A label, so that it is valid wherever names are. */
function nameOf({ about, type, reason, message, reporter, host }: Event["spec"]): string {
  const said = [about.kind, about.name, about.namespace, about.uid, type, reason, message, reporter, host];
  const hash = createHash("sha256").update(JSON.stringify(said)).digest("hex").slice(0, 16);
  return `${about.name.slice(0, 40).replace(/[^a-z0-9]+$/, "")}-${hash}`;
}

/** Deletes Events whose last time is over an hour ago, or is none, or lies as far ahead; looks every minute. Runs until the signal aborts; never rejects. */
export async function runEventExpiry(context: {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  maxAgeMs?: number;
  intervalMs?: number;
}): Promise<void> {
  const { client, clock, log, signal, maxAgeMs = 3_600_000, intervalMs = 60_000 } = context;
  while (!signal.aborted) {
    try {
      const now = clock.now().getTime();
      for (const { metadata, spec } of (await client.list(Event, { signal, shared: true })).items) {
        if (signal.aborted) return;
        if (Math.abs(now - Date.parse(spec.lastTime)) <= maxAgeMs) continue;
        const { name, namespace, resourceVersion } = metadata;
        // With its version: an event that happens again meanwhile stays.
        await client
          .delete(
            Event,
            { name, ...(namespace ? { namespace } : {}) },
            { ...(resourceVersion ? { resourceVersion } : {}), signal },
          )
          .catch((error: unknown) => {
            if (!isApiError(error, "Conflict", "NotFound")) throw error;
          });
      }
    } catch (error) {
      if (!signal.aborted) log.warn("deleting old events failed", { error: describeError(error) });
    }
    await clock.sleep(intervalMs, signal);
  }
}
