/**
 * Leader election over a Lease object: of several control planes one runs the reconcilers.
 *
 * The lease is taken and renewed by compare-and-swap. Others judge it by what has elapsed since they saw renewTime
 * change, so clocks need not agree, and may be put right at any time. The leader counts from *before* it sent its last good renewal and gives up at two
 * thirds of the duration, well before anybody else may take over. Leadership only keeps reconcilers from working against each
 * other; what must never happen is guarded by compare-and-swap on the objects themselves, not by it.
 */
import type { Client } from "../client/client.ts";
import { isApiError } from "../resource/errors.ts";
import { gauge } from "../telemetry/metrics.ts";
import { backoffMs } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import { Lease } from "./kinds.ts";
import { describeError, type Logger } from "./log.ts";

const leading = gauge("vireo_leader", "1 while this process holds the lease, else 0.", ["lease"]);

export interface LeaderOptions {
  lease: string;
  /** Who we are: different for every process, also after a restart. */
  identity: string;
  durationSeconds: number;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

/** What was last seen of a lease, and since when. */
interface Seen {
  mark: string;
  /** As our own clock had elapsed. */
  at: number;
}

/**
 * Waits for the lease, runs `lead` while it is held, and again whenever it was lost and won anew; until `signal` aborts.
 * `lead` gets a signal that aborts when leadership ends, and has to return then. Never rejects.
 */
export async function runAsLeader(
  client: Client,
  options: LeaderOptions,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { clock, signal, lease, identity } = options;
  const log = options.log.child({ lease, identity });
  const durationMs = options.durationSeconds * 1000;
  let seen: Seen | undefined;
  let failures = 0;
  while (!signal.aborted) {
    const askedAt = clock.elapsed();
    let won = false;
    try {
      const held = await client.get(Lease, { name: lease }, signal);
      const mark = held ? `${held.spec.holder} ${held.spec.renewTime}` : "";
      if (seen?.mark !== mark) seen = { mark, at: clock.elapsed() };
      const free =
        !held ||
        held.spec.holder === "" ||
        held.spec.holder === identity ||
        clock.elapsed() - seen.at >= held.spec.durationSeconds * 1000;
      if (free) {
        await write(client, options, held, identity);
        won = true;
      }
      failures = 0;
    } catch (error) {
      if (signal.aborted) break;
      // Conflict, AlreadyExists: somebody else was faster; look again.
      if (!isApiError(error, "Conflict", "AlreadyExists") && failures++ === 0)
        log.warn("the lease cannot be read or written, trying again", { error: describeError(error) });
    }
    if (!won) {
      await clock.sleep(
        failures > 0 ? backoffMs(failures, { maxMs: durationMs / 3 }) : durationMs / 6,
        signal,
      );
      continue;
    }
    log.info("leading");
    leading.set({ lease }, 1);
    const began = clock.elapsed();
    await leadWhileHeld(client, options, lead, askedAt, log);
    leading.set({ lease }, 0);
    log.info("leads no more");
    // A lead that fails at once must not spin.
    if (!signal.aborted && clock.elapsed() - began < 1000) await clock.sleep(1000, signal);
  }
}

async function leadWhileHeld(
  client: Client,
  options: LeaderOptions,
  lead: (signal: AbortSignal) => Promise<void>,
  heldSince: number,
  log: Logger,
): Promise<void> {
  const { clock, signal, identity } = options;
  const durationMs = options.durationSeconds * 1000;
  const term = new AbortController();
  const end = () => term.abort();
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  const led = lead(term.signal)
    .catch((error: unknown) => {
      if (!term.signal.aborted) log.error("leading failed", { error: describeError(error) });
    })
    .finally(end);
  let renewedAt = heldSince;
  const giveUpAt = () => renewedAt + (durationMs * 2) / 3;
  while (!term.signal.aborted) {
    await clock.sleep(Math.min(durationMs / 4, Math.max(1, giveUpAt() - clock.elapsed())), term.signal);
    if (term.signal.aborted) break;
    const askedAt = clock.elapsed();
    if (askedAt >= giveUpAt()) {
      log.warn("the lease could not be renewed in time");
      break;
    }
    // The attempt itself is bounded too: an answer that never comes must not keep us leading.
    const attempt = new AbortController();
    const renewal = renew(client, options, attempt.signal).catch((error: unknown) => {
      log.warn("renewing the lease failed", { error: describeError(error) });
      return undefined;
    });
    const stopWaiting = new AbortController();
    const result = await Promise.race([
      renewal,
      clock
        .sleep(giveUpAt() - askedAt, AbortSignal.any([term.signal, stopWaiting.signal]))
        .then(() => "late" as const),
    ]);
    stopWaiting.abort();
    attempt.abort();
    if (result === "lost") {
      log.warn("somebody else has the lease");
      break;
    }
    if (result === "renewed") renewedAt = askedAt;
  }
  end();
  signal.removeEventListener("abort", end);
  await led;
  // Given up on purpose: the next one need not wait. Not when it was lost: it is somebody else's by now.
  const held = await client
    .get(Lease, { name: options.lease }, AbortSignal.timeout(2000))
    .catch(() => undefined);
  if (held?.spec.holder === identity) await write(client, options, held, "").catch(() => undefined);
}

async function renew(
  client: Client,
  options: LeaderOptions,
  signal: AbortSignal,
): Promise<"renewed" | "lost"> {
  const held = await client.get(Lease, { name: options.lease }, signal);
  if (held?.spec.holder !== options.identity) return "lost";
  await write(client, options, held, options.identity, signal);
  return "renewed";
}

async function write(
  client: Client,
  options: LeaderOptions,
  held: Lease | undefined,
  holder: string,
  signal: AbortSignal = options.signal,
): Promise<void> {
  const renewTime = options.clock.now().toISOString();
  const spec = { holder, durationSeconds: options.durationSeconds, renewTime };
  if (!held) {
    await client.create(Lease, { metadata: { name: options.lease }, spec }, signal);
    return;
  }
  const transitions = (held.spec.transitions ?? 0) + (held.spec.holder === holder ? 0 : 1);
  await client.update(
    Lease,
    { ...held, spec: { ...spec, transitions } },
    // The release after an abort has to go out although the signal is aborted.
    holder === "" ? AbortSignal.timeout(2000) : signal,
  );
}
