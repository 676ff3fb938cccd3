/**
 * The power reconciler: has the BMC of each host do what the host's spec asks for (kinds.ts: how, and what keeps machines safe), and tells what it
 * says. All that it needs to go on is in the Host's status; what this process has pressed is only remembered so as not to press on and on.
 */

import { type Client, modify } from "../client/client.ts";
import type { Host as HostType } from "../compute/hosts/kinds.ts";
import { Host } from "../compute/hosts/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import { runsControlPlane } from "../reconcile/control-planes.ts";
import { Controller } from "../reconcile/controller.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";
import { type Resource, setCondition } from "../resource/object.ts";
import { fulfilment, withBoot } from "./automatic.ts";
import { type Bmc, BmcError } from "./bmc.ts";
import {
  type Bmc as BmcSpec,
  type Emptying,
  isEmptied,
  POWER_AS_ASKED,
  type PowerStatus,
  type Task,
  WAKE_TEST_DUE,
  WAKE_TEST_FAILED,
} from "./kinds.ts";
import { askNeighbours } from "./neighbours.ts";
import { type Done, type Next, nextOf, type Seen, type Standing, saysSo, type WakeTest } from "./next.ts";
import { openBmc } from "./open-bmc.ts";
import { about, BEGUN, becauseOf, dueCondition, isLong, WHY, wakeCondition } from "./telling.ts";
import { heardOf } from "./wake-on-lan.ts";
import { WakeTests } from "./wake-tests.ts";

/** What is written with how the host stands. */
export interface Change {
  done?: Done | WakeTest;
  task?: Task;
  due?: { message: string; isOver: boolean };
  emptying?: Emptying;
  /** It is emptied as before: it is only not known how the host stands. */
  unheard?: boolean;
}

export interface PowerContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Reads a Secret. */
  secretOf: (at: { namespace: string; name: string }) => Promise<Resource | undefined>;
  /** The boot id of the machine that the control plane runs on. */
  bootId: string;
  /** What else a host's wake test waits for; undefined: nothing, or machines that are there can be moved elsewhere for it. Asked just before it begins; absent: nobody moves machines. */
  wakeTestWaits?: (host: HostType) => Promise<string | undefined>;
  /** Another way to BMCs than the real one, for tests. */
  open?: (spec: BmcSpec) => Promise<Bmc>;
  intervals?: Partial<typeof INTERVALS>;
}

/** Between two looks at a BMC: while something is done, while machines leave for a wake test, and otherwise. */
const INTERVALS = { busyMs: 2000, emptyingMs: 30_000, idleMs: 120_000 };
/** Between two looks whether the machines have left a host. */
const WAITING_MS = 10_000;
/** ipmitool is a process each, and waits most of the time: hosts that do not answer must not hold up the others. */
const WORKERS = 16;

/** Runs until the signal aborts; never rejects. */
export async function runPowerReconciler(context: PowerContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const { busyMs, emptyingMs, idleMs } = { ...INTERVALS, ...context.intervals };
  const open = context.open ?? ((spec: BmcSpec) => openBmc(spec, context.secretOf));
  const hosts = new Informer(client, Host, { log, clock });
  const events = new EventRecorder(client, "power-reconciler", log, clock);
  /** By uid: what was seen last, of which spec, and when. */
  const seenAt = new Map<string, { seen: Seen; at: number; generation: number }>();
  /** By uid: the step of the task that was pressed for. */
  const pressed = new Map<string, string>();
  const controller = new Controller({ name: "power", log, clock, workers: WORKERS, reconcile });
  const wakeTests = new WakeTests({
    ...{ client, clock, hosts, events, begin, write },
    waits: context.wakeTestWaits,
    intervals: { busyMs, emptyingMs, idleMs },
    enqueue: (name) => controller.enqueue(name),
  });
  hosts.onChange((name, host, old) => {
    const uid = old?.metadata.uid;
    if (!host && uid) {
      seenAt.delete(uid);
      pressed.delete(uid);
    }
    wakeTests.release(name);
    controller.enqueue(name);
  });

  async function reconcile(name: string): Promise<{ requeueAfterMs: number } | undefined> {
    const host = await client.get(Host, { name });
    if (!host) return undefined;
    const { uid = "" } = host.metadata;
    if (!host.spec.bmc) {
      if (host.status?.power) await clear(name);
      return undefined;
    }
    const seen = await look(host, host.spec.bmc);
    const now = clock.now().getTime();
    if (await fulfil(host, seen, now)) return { requeueAfterMs: busyMs };
    const { task } = host.status?.power ?? {};
    const bootId = host.status?.facts?.bootId;
    const own = bootId === context.bootId;
    const next = nextOf(host, {
      now,
      seen,
      pressed: task !== undefined && pressed.get(uid) === stepOf(task, host.spec.bmc, now),
      own,
      controlPlane: own || (await runsControlPlane(client, bootId)),
    });
    switch (next.step) {
      case "begin":
        if (next.otherwise && next.task.kind === "WakeTest")
          return wakeTests.begin(host, seen, next.task, next.otherwise);
        if (await begin(host, seen, next)) return { requeueAfterMs: busyMs };
        return { requeueAfterMs: next.otherwise ? idleMs : WAITING_MS };
      case "turn":
        await write(host, seen, next.standing, { task: next.task });
        return { requeueAfterMs: busyMs };
      case "press":
        await write(host, seen, next.standing);
        await press(host, host.spec.bmc, next);
        return { requeueAfterMs: busyMs };
      case "wait":
        await write(host, seen, next.standing);
        return { requeueAfterMs: busyMs };
      case "finish":
        if (await write(host, seen, next.standing, { done: next.done })) told(host, next.done);
        return { requeueAfterMs: busyMs };
      case "settle":
        await write(host, seen, next.standing, { unheard: next.unheard === true });
        return { requeueAfterMs: idleMs };
    }
  }

  /** Tells what came of what a PowerPolicy wanted. @returns whether there was something to tell */
  async function fulfil(host: HostType, seen: Seen, at: number): Promise<boolean> {
    if (!fulfilment(host, seen, at)) return false;
    const { name, uid } = host.metadata;
    let told: PowerStatus | undefined;
    await modify(client, Host, { name }, "status", (now) => {
      told = now.metadata.uid === uid ? fulfilment(now, seen, at) : undefined;
      if (!told) return undefined;
      const changed = { ...now, status: { ...now.status, power: told } };
      const tested = wakeCondition(changed);
      const { conditions } = now.status ?? {};
      const time = clock.now().toISOString();
      return tested
        ? { ...changed, status: { ...changed.status, conditions: setCondition(conditions, tested, time) } }
        : changed;
    });
    const past = told?.past?.at(-1);
    if (!told || !past || past.since !== told.automatic?.since) return told !== undefined;
    const { power, succeeded, message } = past;
    const reason = succeeded ? "Woken" : power === "On" ? "WakeFailed" : "SwitchOffFailed";
    const more =
      succeeded || power === "Off"
        ? ""
        : `; it is not switched off by itself again until vireo host power acknowledge ${name}`;
    events.record(about(host), succeeded ? "Normal" : "Warning", reason, `${message}${more}`);
    return true;
  }

  /** What the BMC says, asked no more often than needed. */
  async function look(host: HostType, spec: BmcSpec): Promise<Seen> {
    if (spec.wakeOnLan) return heardOf(host);
    const { uid = "", generation = 0 } = host.metadata;
    const now = clock.now().getTime();
    const known = seenAt.get(uid);
    const freshMs = host.status?.power?.task ? busyMs : idleMs;
    if (known && known.generation === generation && now - known.at < freshMs) return known.seen;
    let seen: Seen;
    try {
      seen = { state: await (await open(spec)).state() };
    } catch (error) {
      seen = { state: "Unknown", reason: reasonOf(error) };
    }
    seenAt.set(uid, { seen, at: now, generation });
    return seen;
  }

  const reasonOf = (error: unknown): string => {
    if (error instanceof BmcError) return error.message;
    log.warn("power.failed", { error });
    return "its BMC could not be asked; the control plane's log tells why";
  };

  /** Writes the task. @returns the host then; undefined while machines are on it: then it is refused (checks.ts) */
  async function begin(host: HostType, seen: Seen, { task }: { task: Task }): Promise<HostType | undefined> {
    const { name, uid } = host.metadata;
    try {
      const begun = await modify(client, Host, { name }, "status", (now) => {
        if (now.metadata.uid !== uid || now.metadata.generation !== host.metadata.generation)
          return undefined;
        const { emptying: _, ...power } = powerOf(now, seen);
        return { ...now, status: { ...now.status, power: { ...power, task } } };
      });
      if (begun?.status?.power?.task?.startedTime === task.startedTime)
        events.record(about(host), "Normal", BEGUN[task.kind], `${WHY[task.kind]}, ${becauseOf(host, task)}`);
      return begun;
    } catch (error) {
      if (!isApiError(error, "Invalid")) throw error;
      const cause = error.details.causes?.find(({ field }) => field === "status.power.task");
      if (!cause) throw error;
      // Who began it tells.
      if (task.kind === "WakeTest") return undefined;
      const message = `waits to be switched off: ${cause.message.replace(/^Forbidden: /, "")}; vireo drain ${name} moves them elsewhere`;
      await write(host, seen, { status: "False", reason: "MachinesThere", message });
      return undefined;
    }
  }

  async function press(host: HostType, spec: BmcSpec, next: Next & { step: "press" }): Promise<void> {
    const { uid = "" } = host.metadata;
    const { task } = host.status?.power ?? {};
    if (!task || signal.aborted) return;
    const at = clock.now().getTime();
    let reason: string | undefined;
    try {
      await (await open(spec))[next.what]();
    } catch (error) {
      reason = reasonOf(error);
    }
    // After its own packet, which hangs on nobody.
    const asked = next.what === "on" && (await askOthers(host, spec));
    if (reason === undefined || asked) pressed.set(uid, stepOf(task, spec, at));
    else {
      // Tried again until the task's time is over.
      events.record(about(host), "Warning", "BmcFailed", reason);
      await write(
        host,
        { state: host.status?.power?.state ?? "Unknown" },
        { ...next.standing, message: reason },
      );
    }
    seenAt.delete(uid);
  }

  /** Of one that only a packet wakes. @returns whether there are others that send it, too */
  async function askOthers(host: HostType, spec: BmcSpec): Promise<boolean> {
    if (!spec.wakeOnLan) return false;
    const asked = await askNeighbours(client, host, hosts.list(), clock.now().toISOString(), log);
    if (asked.length === 0) return false;
    const who = asked.map(({ name, networks }) => `${name} (${networks.join(", ")})`);
    events.record(
      about(host),
      "Normal",
      "WakeAsked",
      `to be woken by hosts in its network: ${who.join(", ")}`,
    );
    return true;
  }

  /** @returns the host then, when it was this call that wrote it */
  async function write(
    host: HostType,
    seen: Seen,
    standing: Standing,
    change: Change = {},
  ): Promise<HostType | undefined> {
    const { done } = change;
    const { name, uid } = host.metadata;
    let wrote = false;
    const written = await modify(client, Host, { name }, "status", (now) => {
      wrote = false;
      if (now.metadata.uid !== uid || !now.spec.bmc) return undefined;
      const { power } = now.status ?? {};
      const of = change.task ?? done;
      if (of && power?.task?.startedTime !== of.startedTime) return undefined;
      const { task: current, emptying: before, ...seenNow } = powerOf(now, seen);
      const task = change.task ?? current;
      // It goes on as long as whoever looks says so, or hears nothing for a while; what was given up is remembered.
      const stays = before && (!isEmptied(now) || (change.unheard && !isLong(before, clock.now().getTime())));
      const emptying = change.emptying ?? (stays ? before : undefined);
      const rest = { ...seenNow, ...(emptying ? { emptying } : {}) };
      const next: PowerStatus = done
        ? "passed" in done
          ? tested({ ...rest, lastWakeTest: done }, current, done)
          : { ...rest, lastTask: done }
        : { ...rest, ...(task ? { task } : {}) };
      const same = power?.state === next.state && power.reason === next.reason && !of;
      const goesOn =
        emptying?.startedTime === before?.startedTime && !emptying?.endedTime === !before?.endedTime;
      if (same && goesOn && saysSo(now, POWER_AS_ASKED, standing)) return undefined;
      wrote = true;
      const condition = {
        type: POWER_AS_ASKED,
        ...standing,
        observedGeneration: host.metadata.generation ?? 0,
      };
      const time = clock.now().toISOString();
      const changed = { ...now, status: { ...now.status, power: next } };
      const conditions = setCondition(now.status?.conditions, condition, time);
      const more = [wakeCondition(changed), dueCondition(changed, change.due)];
      return {
        ...changed,
        status: {
          ...changed.status,
          conditions: more.reduce((all, each) => (each ? setCondition(all, each, time) : all), conditions),
        },
      };
    });
    const before = host.status?.power?.state;
    if (wrote && before !== seen.state) {
      if (seen.state === "Unknown") events.record(about(host), "Warning", "PowerUnknown", seen.reason ?? "");
      else if (before !== undefined && !done && !host.status?.power?.task)
        events.record(
          about(host),
          "Normal",
          `Switched${seen.state}`,
          `seen by its BMC to be ${seen.state.toLowerCase()}; nothing of Vireo's did that`,
        );
    }
    return wrote ? written : undefined;
  }

  /** The host's power with what was seen. */
  function powerOf(host: HostType, { state, reason }: Seen): PowerStatus {
    const { power } = host.status ?? {};
    const { reason: _, ...rest } = power ?? {};
    const since = power?.state === state ? power.since : clock.now().toISOString();
    return { ...rest, state, since, ...(reason === undefined ? {} : { reason }) };
  }

  async function clear(name: string): Promise<void> {
    await modify(client, Host, { name }, "status", (now) => {
      if (now.spec.bmc || !now.status?.power) return undefined;
      const { power: _, conditions = [], ...rest } = now.status;
      return {
        ...now,
        status: {
          ...rest,
          conditions: conditions.filter(
            ({ type }) => ![POWER_AS_ASKED, WAKE_TEST_FAILED, WAKE_TEST_DUE].includes(type),
          ),
        },
      };
    });
  }

  function told(host: HostType, done: Done | WakeTest): void {
    const { message } = done;
    if ("passed" in done) {
      const after = `${message}; it is not shut down by itself again until vireo host power acknowledge ${host.metadata.name}`;
      if (done.passed) events.record(about(host), "Normal", "WakeTestPassed", message);
      else events.record(about(host), "Warning", "WakeTestFailed", after);
      return;
    }
    const what = done.kind === "On" ? "On" : "Off";
    if (done.succeeded) events.record(about(host), "Normal", `Switched${what}`, message);
    else events.record(about(host), "Warning", `Switch${what}Failed`, message);
  }

  const informed = hosts.run(signal);
  await Promise.race([hosts.synced, informed]);
  await Promise.all([controller.run(signal), informed]);
}

/** With how long it took to wake. */
function tested(power: PowerStatus, task: Task | undefined, { passed, finishedTime }: WakeTest): PowerStatus {
  const ms = Date.parse(finishedTime) - Date.parse(task?.waking?.time ?? "");
  return passed && Number.isFinite(ms) ? withBoot(power, Math.round(ms / 1000)) : power;
}

/** One press each; of Wake-on-LAN one every minute: a packet may be lost, or come while the host still goes off. */
function stepOf({ startedTime, waking }: Task, { wakeOnLan }: BmcSpec, now: number): string {
  const minute = wakeOnLan ? Math.floor((now - Date.parse(startedTime)) / 60_000) : 0;
  return `${startedTime} ${waking ? "waking" : ""} ${minute}`;
}
