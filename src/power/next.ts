/** What is to be done next about the power of a host. Pure: from what is asked for, what was begun, and what its BMC says. */
import type { Host } from "../compute/hosts/kinds.ts";
import { getCondition } from "../resource/object.ts";
import type { PowerState } from "./bmc.ts";
import {
  BOOT_SECONDS,
  failedWakeTest,
  isClosed,
  type PowerStatus,
  pendingOf,
  SHUTDOWN_SECONDS,
  type Task,
  WAKE_TEST_DUE,
} from "./kinds.ts";

export type Done = NonNullable<PowerStatus["lastTask"]>;
export type WakeTest = NonNullable<PowerStatus["lastWakeTest"]>;

export interface Seen {
  /** What the BMC says. */
  state: PowerState | "Unknown";
  /** Why it is Unknown, for people. */
  reason?: string;
}

/** How the host stands to what is asked for: condition PowerAsAsked. */
export interface Standing {
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
}

/** How a host stands whose wake test is due and waits. */
export interface Waiting extends Standing {
  /** "its wake test is due since TIME" */
  due: string;
  /** For as long again as there are to be between two. */
  isOver: boolean;
}

/**
 * begin: write the task, which is refused while machines are there; then `otherwise` stands. turn: write how far the task has come. press: have the BMC do it (again: harmless). finish: the task is over. settle: there
 * is nothing to do; `unheard`: its wake test is due, and waits until it is heard of.
 */
export type Next =
  | { step: "begin"; task: Task; otherwise?: Waiting }
  | { step: "turn"; task: Task; standing: Standing }
  | { step: "press"; what: "on" | "shutDown" | "cut"; standing: Standing }
  | { step: "wait"; standing: Standing }
  | { step: "finish"; done: Done | WakeTest; standing: Standing }
  | { step: "settle"; standing: Standing; unheard?: boolean };

/** How long a BMC may take until it says that the power is on, or is cut. */
const SWITCH_MS = 60_000;
/** Until a host that did not come on is told again to. */
const RETRY_MS = 300_000;
const DAY_MS = 86_400_000;

export interface Situation {
  now: number;
  seen: Seen;
  /** What this process has pressed for the task under way; another one may have, before. */
  pressed: boolean;
  /** The host is the machine that the control plane itself runs on. */
  own: boolean;
  /** A control plane runs on it, this one or another. */
  controlPlane: boolean;
}

export function nextOf(host: Host, situation: Situation): Next {
  const { now, seen, own, controlPlane } = situation;
  const { task } = host.status?.power ?? {};
  if (task?.kind === "WakeTest") return test(host, task, situation);
  if (task) return goOn(host, task.kind, task, situation);
  // One that its wake test left off is not left so.
  const pending = pendingOf(host);
  const wanted = host.spec.power ?? (failedWakeTest(host) ? "On" : pending?.power);
  const isDue = (wanted === undefined || wanted === "On") && isTestDue(host, situation);
  if (seen.state === "Unknown")
    return {
      ...settle("Unknown", "BmcFailed", seen.reason ?? "its BMC has not been asked yet"),
      unheard: isDue,
    };
  const generation = host.metadata.generation ?? 0;
  const begin = (kind: Task["kind"]): Next & { step: "begin" } => ({
    step: "begin",
    task: { kind, startedTime: new Date(now).toISOString(), generation },
  });
  const failed = failure(host, wanted, now);
  if (wanted === undefined || wanted === "On") {
    if (seen.state === "Off" && wanted === "On") return failed ?? begin("On");
    const settled =
      wanted === "On"
        ? settle("True", "AsAsked", "is switched on")
        : settle("True", "NotAsked", `is ${word(seen)}; nothing else is asked for`);
    if (!isDue || seen.state !== "On") return settled;
    if (getCondition(host.status?.conditions, "Ready")?.status !== "True" || !host.status?.agent)
      return { ...settled, unheard: true };
    return { ...begin("WakeTest"), otherwise: { ...settled.standing, ...dueOf(host, now) } };
  }
  if (seen.state === "Off") return settle("True", "AsAsked", "is switched off");
  if (!pending && !host.spec.unschedulable && !host.spec.maintenance)
    return settle(
      "False",
      "NotUnschedulable",
      "may still be given machines: neither spec.unschedulable nor spec.maintenance is true",
    );
  if (own)
    return settle(
      "False",
      "ControlPlane",
      "is not switched off: the control plane that would switch it on again runs on it",
    );
  if (controlPlane && pending)
    return settle("False", "ControlPlane", "is not switched off by itself: a control plane runs on it");
  if (wanted === "Off" && failedWakeTest(host))
    return settle(
      "False",
      "WakeTestFailed",
      `is not shut down: it failed its wake test of ${host.status?.power?.lastWakeTest?.startedTime}, and may not come on again; vireo host power acknowledge ${host.metadata.name} allows it`,
    );
  return failed ?? begin(wanted);
}

/** Of a host that no control plane runs on and that nobody has closed, who may be at work on it; it begins while its agent is heard from: it has to be proven that it is heard from again. */
function isTestDue(host: Host, { now, controlPlane }: Situation): boolean {
  const { spec, status } = host;
  const { wakeTest } = spec.powerManagement ?? {};
  if (!wakeTest || isClosed(spec) || controlPlane || failedWakeTest(host)) return false;
  const last = status?.power?.lastWakeTest;
  return !last?.passed || now - Date.parse(last.startedTime) >= wakeTest.everyDays * DAY_MS;
}

function dueOf({ spec, status }: Host, now: number): Pick<Waiting, "due" | "isOver"> {
  const everyMs = (spec.powerManagement?.wakeTest?.everyDays ?? 0) * DAY_MS;
  const last = status?.power?.lastWakeTest;
  const condition = getCondition(status?.conditions, WAKE_TEST_DUE);
  // Of the first one it is not known since when, but by when that was told.
  const since = last?.passed
    ? Date.parse(last.startedTime) + everyMs
    : condition?.status === "True"
      ? Date.parse(condition.lastTransitionTime ?? "")
      : now;
  const isOver = now - since >= everyMs;
  const word = isOver ? "overdue" : "due";
  return { due: `its wake test is ${word} since ${new Date(since).toISOString()}`, isOver };
}

/** A wake test on its way: off, and on again until its agent, started anew, is heard from. */
function test(host: Host, task: Task, { now, seen, pressed }: Situation): Next {
  const { status, spec } = host;
  const finish = (passed: boolean, message: string): Next => ({
    step: "finish",
    done: { startedTime: task.startedTime, finishedTime: new Date(now).toISOString(), passed, message },
    standing: passed
      ? { status: "True", reason: "AsAsked", message: `is switched on; ${message}` }
      : { status: "False", reason: "WakeTestFailed", message },
  });
  const standing = (message: string): Standing => ({
    status: "False",
    reason: "WakeTest",
    message: seen.state === "Unknown" ? (seen.reason ?? "its BMC says nothing") : `its wake test: ${message}`,
  });
  if (!task.waking) {
    const limitMs = (spec.powerManagement?.shutdownSeconds ?? SHUTDOWN_SECONDS) * 1000;
    const waits = standing("its system is asked to shut down");
    if (seen.state === "Off") {
      const waking = { time: new Date(now).toISOString(), agent: status?.agent?.startedTime ?? "" };
      return { step: "turn", task: { ...task, waking }, standing: standing("it is off, and is switched on") };
    }
    if (now - Date.parse(task.startedTime) >= limitMs)
      return finish(
        false,
        `it was not seen to be off within ${limitMs / 1000} s after its system was asked to shut down`,
      );
    return pressed || seen.state === "Unknown"
      ? { step: "wait", standing: waits }
      : { step: "press", what: "shutDown", standing: waits };
  }
  const tookMs = now - Date.parse(task.waking.time);
  const limitMs = bootMsOf(host);
  const isBack =
    getCondition(status?.conditions, "Ready")?.status === "True" &&
    status?.agent !== undefined &&
    status.agent.startedTime !== task.waking.agent;
  if (isBack) return finish(true, `it woke in ${Math.round(tookMs / 1000)} s, up to its agent's first word`);
  if (tookMs >= limitMs)
    return finish(
      false,
      seen.state === "On"
        ? `it was switched on, and its agent was not heard from within ${limitMs / 1000} s`
        : `it did not come on within ${limitMs / 1000} s${seen.reason ? `: ${seen.reason}` : ""}`,
    );
  const waits = standing("it is switched on; waits for its agent");
  return pressed || seen.state !== "Off"
    ? { step: "wait", standing: waits }
    : { step: "press", what: "on", standing: waits };
}

/** Of a task that failed for what is still asked for. Off is not tried again by itself, On after a while. */
function failure(
  { metadata, spec, status }: Host,
  wanted: Done["kind"] | undefined,
  now: number,
): Next | undefined {
  const { lastTask } = status?.power ?? {};
  if (!lastTask || lastTask.succeeded || lastTask.kind !== wanted) return undefined;
  if (lastTask.generation !== metadata.generation) return undefined;
  const { since } = pendingOf({ spec, status }) ?? {};
  if (since !== undefined && lastTask.startedTime < since) return undefined;
  if (lastTask.kind === "On" && now - Date.parse(lastTask.finishedTime) >= RETRY_MS) return undefined;
  return settle("False", "TimedOut", lastTask.message);
}

/** How long it may take from switched on to its agent's first word. */
const bootMsOf = ({ spec }: Host) => (spec.powerManagement?.wakeTest?.bootSeconds ?? BOOT_SECONDS) * 1000;

function goOn(host: Host, kind: Done["kind"], task: Task, { now, seen, pressed }: Situation): Next {
  const { spec, metadata } = host;
  // Pressing harder is a task of its own, and takes over from the one that asks.
  if (kind === "Off" && spec.power === "ForceOff" && seen.state !== "Off")
    return {
      step: "begin",
      task: {
        kind: "ForceOff",
        startedTime: new Date(now).toISOString(),
        generation: metadata.generation ?? 0,
      },
    };
  const goal: PowerState = kind === "On" ? "On" : "Off";
  const tookMs = now - Date.parse(task.startedTime);
  // Nobody but its agent says that it is on.
  const wakes = kind === "On" && spec.bmc?.wakeOnLan !== undefined;
  const shutdownMs = (spec.powerManagement?.shutdownSeconds ?? SHUTDOWN_SECONDS) * 1000;
  const limitMs = wakes ? bootMsOf(host) : kind === "Off" ? shutdownMs : SWITCH_MS;
  const finish = (succeeded: boolean, message: string): Next => ({
    step: "finish",
    done: {
      kind,
      startedTime: task.startedTime,
      generation: task.generation,
      finishedTime: new Date(now).toISOString(),
      succeeded,
      message,
    },
    standing: succeeded
      ? { status: "True", reason: "AsAsked", message }
      : { status: "False", reason: "TimedOut", message },
  });
  if (seen.state === goal)
    return finish(
      true,
      `is switched ${goal.toLowerCase()}, ${Math.round(tookMs / 1000)} s after it was begun`,
    );
  if (tookMs >= limitMs) {
    const limit = `within ${limitMs / 1000} s`;
    if (seen.state === "Unknown")
      return finish(false, `it is not known whether it did ${limit}: ${seen.reason}`);
    return finish(
      false,
      kind === "Off"
        ? `its system did not shut down ${limit} (spec.powerManagement.shutdownSeconds); spec.power: ForceOff (vireo host power off --force) cuts its power`
        : wakes
          ? `it was sent the packet that wakes it, and its agent was not heard from ${limit}; see whether spec.bmc.wakeOnLan.mac is its card's, and whether its firmware lets that wake it`
          : `its BMC took the order, and the host is still ${word(seen)} ${limit}`,
    );
  }
  const standing: Standing = {
    status: "False",
    reason: kind === "On" ? "SwitchingOn" : "SwitchingOff",
    message:
      seen.state === "Unknown"
        ? (seen.reason ?? "its BMC says nothing")
        : kind === "Off"
          ? "waits for its system to shut down, which was asked to"
          : `is being switched ${goal.toLowerCase()}`,
  };
  if (pressed || seen.state === "Unknown") return { step: "wait", standing };
  return { step: "press", what: WHAT[kind], standing };
}

const WHAT = { On: "on", Off: "shutDown", ForceOff: "cut" } as const;

const word = ({ state }: Seen) => `switched ${state.toLowerCase()}`;

const settle = (status: Standing["status"], reason: string, message: string): Next & { step: "settle" } => ({
  step: "settle",
  standing: { status, reason, message },
});

/** Whether the condition says so already, of this generation. */
export function saysSo(
  { metadata, status }: Host,
  type: string,
  { reason, message, ...standing }: Standing,
): boolean {
  const old = getCondition(status?.conditions, type);
  return (
    old?.status === standing.status &&
    old.reason === reason &&
    old.message === message &&
    old.observedGeneration === (metadata.generation ?? 0)
  );
}
