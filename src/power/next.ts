/** What is to be done next about the power of a host. Pure: from what is asked for, what was begun, and what its BMC says. */
import type { Host } from "../compute/hosts/kinds.ts";
import { getCondition } from "../resource/object.ts";
import type { PowerState } from "./bmc.ts";
import type { PowerStatus, Task } from "./kinds.ts";

type Done = NonNullable<PowerStatus["lastTask"]>;

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

/**
 * begin: write the task, which is refused while machines are there. press: have the BMC do it (again: harmless). finish: the task is over. settle: there
 * is nothing to do.
 */
export type Next =
  | { step: "begin"; task: Task }
  | { step: "press"; what: "on" | "shutDown" | "cut"; standing: Standing }
  | { step: "wait"; standing: Standing }
  | { step: "finish"; done: Done; standing: Standing }
  | { step: "settle"; standing: Standing };

/** How long a BMC may take until it says that the power is on, or is cut. */
const SWITCH_MS = 60_000;
/** Until a host that did not come on is told again to. */
const RETRY_MS = 300_000;
const SHUTDOWN_SECONDS = 300;

export interface Situation {
  now: number;
  seen: Seen;
  /** What this process has pressed for the task under way; another one may have, before. */
  pressed: boolean;
  /** The host is the machine that the control plane itself runs on. */
  own: boolean;
}

export function nextOf(host: Host, { now, seen, pressed, own }: Situation): Next {
  const { task } = host.status?.power ?? {};
  if (task) return goOn(host, task, { now, seen, pressed, own });
  if (seen.state === "Unknown")
    return settle("Unknown", "BmcFailed", seen.reason ?? "its BMC has not been asked yet");
  const wanted = host.spec.power;
  const generation = host.metadata.generation ?? 0;
  const begin = (kind: Task["kind"]): Next => ({
    step: "begin",
    task: { kind, startedTime: new Date(now).toISOString(), generation },
  });
  if (wanted === undefined) return settle("True", "NotAsked", `is ${word(seen)}; nothing else is asked for`);
  const failed = failure(host, now);
  if (wanted === "On") {
    if (seen.state === "On") return settle("True", "AsAsked", "is switched on");
    return failed ?? begin("On");
  }
  if (seen.state === "Off") return settle("True", "AsAsked", "is switched off");
  if (!host.spec.unschedulable && !host.spec.maintenance)
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
  return failed ?? begin(wanted);
}

/** Of a task that failed for what is still asked for. Off is not tried again by itself, On after a while. */
function failure({ metadata, status, spec }: Host, now: number): Next | undefined {
  const { lastTask } = status?.power ?? {};
  if (!lastTask || lastTask.succeeded || lastTask.kind !== spec.power) return undefined;
  if (lastTask.generation !== metadata.generation) return undefined;
  if (lastTask.kind === "On" && now - Date.parse(lastTask.finishedTime) >= RETRY_MS) return undefined;
  return settle("False", "TimedOut", lastTask.message);
}

function goOn(host: Host, task: Task, { now, seen, pressed }: Situation): Next {
  const { spec, metadata } = host;
  // Pressing harder is a task of its own, and takes over from the one that asks.
  if (task.kind === "Off" && spec.power === "ForceOff" && seen.state !== "Off")
    return {
      step: "begin",
      task: {
        kind: "ForceOff",
        startedTime: new Date(now).toISOString(),
        generation: metadata.generation ?? 0,
      },
    };
  const goal: PowerState = task.kind === "On" ? "On" : "Off";
  const tookMs = now - Date.parse(task.startedTime);
  const limitMs =
    task.kind === "Off" ? (spec.powerManagement?.shutdownSeconds ?? SHUTDOWN_SECONDS) * 1000 : SWITCH_MS;
  const finish = (succeeded: boolean, message: string): Next => ({
    step: "finish",
    done: { ...task, finishedTime: new Date(now).toISOString(), succeeded, message },
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
      task.kind === "Off"
        ? `its system did not shut down ${limit} (spec.powerManagement.shutdownSeconds); spec.power: ForceOff (vireo host power off --force) cuts its power`
        : `its BMC took the order, and the host is still ${word(seen)} ${limit}`,
    );
  }
  const standing: Standing = {
    status: "False",
    reason: task.kind === "On" ? "SwitchingOn" : "SwitchingOff",
    message:
      seen.state === "Unknown"
        ? (seen.reason ?? "its BMC says nothing")
        : task.kind === "Off"
          ? "waits for its system to shut down, which was asked to"
          : `is being switched ${goal.toLowerCase()}`,
  };
  if (pressed || seen.state === "Unknown") return { step: "wait", standing };
  return { step: "press", what: WHAT[task.kind], standing };
}

const WHAT = { On: "on", Off: "shutDown", ForceOff: "cut" } as const;

const word = ({ state }: Seen) => `switched ${state.toLowerCase()}`;

const settle = (status: Standing["status"], reason: string, message: string): Next => ({
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
