/** What came of what a PowerPolicy wanted of a host (status.power.automatic): whether it is done, how long it took, or that it failed. Pure. */
import type { Host } from "../compute/hosts/kinds.ts";
import { getCondition } from "../resource/object.ts";
import {
  type Automatic,
  BOOT_SECONDS,
  type Past,
  type PowerStatus,
  pendingOf,
  SHUTDOWN_SECONDS,
  withPast,
} from "./kinds.ts";
import type { Seen } from "./next.ts";

/** So many are kept. */
const BOOTS = 5;

/** The host's power with a boot that was measured. */
export const withBoot = (power: PowerStatus, seconds: number): PowerStatus => ({
  ...power,
  boots: [...(power.boots ?? []), seconds].slice(-BOOTS),
});

/** The host's power when what is wanted is over, done or not; undefined while it is not. */
export function fulfilment(host: Host, { state }: Seen, now: number): PowerStatus | undefined {
  const { power } = host.status ?? {};
  const wish = pendingOf(host);
  if (!power || !wish || power.task) return undefined;
  const { lastTask } = power;
  const own = lastTask && lastTask.startedTime >= wish.since ? lastTask : undefined;
  return wish.power === "Off"
    ? offDone(power, wish, own, state, now)
    : onDone(host, power, wish, own, state, now);
}

type Last = PowerStatus["lastTask"];

function over(
  power: PowerStatus,
  wish: Automatic,
  now: number,
  past: Pick<Past, "succeeded" | "message" | "seconds">,
) {
  const finishedTime = new Date(now).toISOString();
  const { since } = wish;
  const { seconds: predictedSeconds } = wish.predicted ?? {};
  const { fulfilled: _, ...rest } = power;
  const next: PowerStatus = { ...rest, fulfilled: { since, finishedTime } };
  return withPast(next, {
    power: wish.power,
    since,
    finishedTime,
    ...(predictedSeconds === undefined || wish.power === "Off" ? {} : { predictedSeconds }),
    ...past,
  });
}

function offDone(power: PowerStatus, wish: Automatic, own: Last, state: Seen["state"], now: number) {
  if (state === "Off") {
    const { fulfilled: _, ...rest } = power;
    // What came of it is known when it is on again.
    return { ...rest, fulfilled: { since: wish.since, finishedTime: new Date(now).toISOString() } };
  }
  if (own?.kind !== "Off" || own.succeeded) return undefined;
  return over(power, wish, now, { succeeded: false, message: own.message });
}

function onDone(
  host: Host,
  power: PowerStatus,
  wish: Automatic,
  own: Last,
  state: Seen["state"],
  now: number,
) {
  const { conditions, agent } = host.status ?? {};
  const { wakeTest, shutdownSeconds = SHUTDOWN_SECONDS } = host.spec.powerManagement ?? {};
  const woken = own?.kind === "On";
  const begun = Date.parse(woken ? own.startedTime : wish.since);
  const seconds = Math.round((now - begun) / 1000);
  const isReady = state === "On" && getCondition(conditions, "Ready")?.status === "True";
  // Of one that had not gone off yet, the agent from before is heard from.
  const limit = (wakeTest?.bootSeconds ?? BOOT_SECONDS) + shutdownSeconds;
  // It may have been on its way off, and was told to come on more than once.
  const isLate = (now - Date.parse(wish.since)) / 1000 >= limit;
  // Its system was asked to shut down, and was not off in time: it may still be on its way.
  const { lastTask } = power;
  const wasAsked = lastTask?.kind === "Off" && !lastTask.succeeded && lastTask.finishedTime >= wish.since;
  const isNew = agent?.startedTime !== wish.agent;
  if (isReady && agent && (isNew || (!woken && (!wasAsked || isLate)))) {
    const message = woken
      ? `its agent was heard from ${seconds} s after it was switched on${wish.predicted?.seconds === undefined ? "" : ` (predicted: ${wish.predicted.seconds} s)`}`
      : "it had not gone off yet";
    const next = over(power, wish, now, { succeeded: true, message, ...(woken ? { seconds } : {}) });
    return woken ? withBoot(next, seconds) : next;
  }
  if (!isLate) return undefined;
  const message = `it was to be switched on, and its agent was not heard from within ${limit - shutdownSeconds} s`;
  const finishedTime = new Date(now).toISOString();
  return {
    ...over(power, wish, now, { succeeded: false, message }),
    // As a wake test that it failed: never again off by itself, until somebody has looked after it.
    lastWakeTest: { startedTime: wish.since, finishedTime, passed: false, message },
  };
}
