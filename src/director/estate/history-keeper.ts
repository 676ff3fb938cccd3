/**
 * Keeps what machines were seen to use (UsageHistory) in the store: once each hour, an object after the other, so that it is no burst. Who leads next goes on from there; what is lost is
 * the hour that goes on, and of some machines the one before. Killed at any moment, what was written last is whole.
 */
import { hash } from "node:crypto";
import { type Client, modify } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isApiError } from "../../resource/errors.ts";
import { UseHistory } from "./history.ts";
import { historySpec, remembered, UsageHistory } from "./usage-history.ts";
import { demandIn } from "./use.ts";

const EVERY_MS = 60_000;
const HOUR_MS = 3_600_000;
/** Objects that are written at a look, of the 256 that all machines are in. */
const AT_ONCE = 16;

interface KeeperContext {
  client: Client;
  clock: Clock;
  log: Logger;
}

const hourOf = (at: number) => Math.floor(at / HOUR_MS);

/** "use-00" to "use-ff". */
const objectOf = (machine: string) => `use-${hash("sha256", machine).slice(0, 2)}`;

/** Takes in all that is kept. @returns the objects */
async function recallHistory(client: Client, history: UseHistory, clock: Clock): Promise<UsageHistory[]> {
  const { items } = await client.list(UsageHistory, { shared: true });
  const now = clock.now().getTime();
  for (const object of items) for (const machine of remembered(object)) history.recall(machine, now);
  return items;
}

/** What who leads knows, near enough: what was kept within the last hour, and what agents tell now. */
export async function readHistory(client: Client, clock: Clock): Promise<UseHistory> {
  const history = new UseHistory();
  await recallHistory(client, history, clock);
  const now = clock.now().getTime();
  for (const { metadata, spec, status } of (await client.list(Instance, { shared: true })).items) {
    const { usage } = status ?? {};
    if (!usage || status?.custody === "Released") continue;
    const at = Math.min(now, Date.parse(usage.time) || now);
    history.observe(`${metadata.namespace ?? "default"}/${spec.vm}`, at, usage.cpus, demandIn(usage));
  }
  return history;
}

export class HistoryKeeper {
  readonly history = new UseHistory();
  readonly #of: KeeperContext;
  /** By object: the hour that it was written in, hours since the epoch. */
  readonly #written = new Map<string, number>();
  readonly #began: number;
  #recalled = false;
  /** All was written in this hour. */
  #done = -1;

  private constructor(of: KeeperContext) {
    this.#of = of;
    this.#began = hourOf(of.clock.now().getTime());
  }

  /** Who is about to lead: knows what the one before saw, as far as it was kept. Never rejects. */
  static async open(of: KeeperContext): Promise<HistoryKeeper> {
    const keeper = new HistoryKeeper(of);
    await keeper.#recall().catch((error: unknown) => of.log.warn("history.failed", { error }));
    return keeper;
  }

  /** Until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#of;
    while (!signal.aborted) {
      await clock.sleep(EVERY_MS, signal);
      if (signal.aborted) return;
      await this.look().catch((error: unknown) => log.warn("history.failed", { error }));
    }
  }

  /** Writes objects whose machines have a new hour, so many at a time. @returns how many */
  async look(): Promise<number> {
    // What is there must not be written over before.
    if (!this.#recalled) await this.#recall();
    const { clock, log } = this.#of;
    const at = clock.now().getTime();
    const hour = hourOf(at);
    if (this.#done === hour) return 0;
    const machines = Map.groupBy(this.history.machines, objectOf);
    const names = new Set([...machines.keys(), ...this.#written.keys()]);
    // Hours ahead are those of a clock that was: what was written then is old.
    const due = [...names].filter((name) => (this.#written.get(name) ?? this.#began) !== hour).sort();
    const now = due.slice(0, AT_ONCE);
    for (const name of now) {
      this.#written.set(name, hour);
      // One that cannot be written has its turn in the next hour.
      await this.#write(name, machines.get(name) ?? [], at).catch((error: unknown) =>
        log.warn("history.failed", { object: name, error }),
      );
    }
    if (due.length === now.length) this.#done = hour;
    return now.length;
  }

  async #recall(): Promise<void> {
    const { client, clock } = this.#of;
    for (const { metadata, spec } of await recallHistory(client, this.history, clock))
      this.#written.set(metadata.name, hourOf(Date.parse(spec.time) || 0));
    this.#recalled = true;
  }

  async #write(name: string, machines: readonly string[], at: number): Promise<void> {
    const { client, clock } = this.#of;
    const spec = historySpec(this.history.remember(machines, at), at);
    if (spec.machines.length === 0) {
      await client.delete(UsageHistory, { name });
      this.#written.delete(name);
      return;
    }
    const make = () => client.create(UsageHistory, { metadata: { name }, spec });
    try {
      // Another one leads meanwhile, when it is newer. What is to come is of a clock that was ahead.
      const isNewer = (time: number) => time > at && time <= clock.now().getTime() + HOUR_MS;
      const found = await modify(client, UsageHistory, { name }, "object", (now) =>
        isNewer(Date.parse(now.spec.time)) ? undefined : { ...now, spec },
      );
      if (!found) await make();
    } catch (error) {
      if (!isApiError(error, "Invalid")) throw error;
      // It cannot be read: nothing is lost with it.
      await client.delete(UsageHistory, { name });
      await make();
    }
  }
}
