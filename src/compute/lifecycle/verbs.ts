/** What `start`, `stop`, `restart` and the others are to a machine: which spec they ask for, and when they make no sense. Pure, and without the kind's schema: the web UI says it, too. */
export type LifecycleVerb = "start" | "stop" | "restart" | "reset" | "pause" | "resume" | "suspend";

/** What of a machine has a say. */
export interface Standing {
  spec: { running: boolean; paused?: boolean; suspended?: boolean; stop?: { force?: boolean } };
  status?: {
    phase?: string;
    /** Only whole objects have them; without, less is known. */
    nextStartTime?: string;
    conditions?: readonly { type: string; reason: string; message: string }[];
  };
}

export interface VerbOptions {
  /** stop, restart: instead of what spec.stop says. */
  graceSeconds?: number;
  force?: boolean;
  /** start: boot, whatever memory is kept. */
  discardMemory?: boolean;
}

const DOWN = ["Stopped", "Failed", "Suspended"];
export const isDown = ({ spec, status }: Standing): boolean =>
  !spec.running || DOWN.includes(status?.phase ?? "Pending");

/** Why it makes no sense now, to be said after "it" or the machine's name; undefined: it does. What would change nothing makes sense. */
export function whyNot(verb: LifecycleVerb, vm: Standing): string | undefined {
  const { spec, status } = vm;
  const { phase = "Pending" } = status ?? {};
  if (["restart", "reset", "pause", "suspend"].includes(verb) && isDown(vm))
    return DOWN.includes(phase) ? `does not run (it is ${phase})` : "is not to run (spec.running is false)";
  if (verb !== "resume" || spec.paused) return undefined;
  const { reason, message = "" } = status?.conditions?.find(({ type }) => type === "Ready") ?? {};
  if (phase === "Suspended") return "is suspended; start it to go on with its memory";
  return phase === "Paused" && reason !== undefined && reason !== "Paused"
    ? `was not paused by anybody: ${message}`
    : `is not paused: it is ${phase}`;
}

/** Why it would change nothing. */
export function whyIdle(verb: LifecycleVerb, vm: Standing): string | undefined {
  const { phase = "Pending" } = vm.status ?? {};
  if (verb === "start" && !isDown(vm)) return `is ${phase}${vm.spec.paused ? "; resume it" : ""}`;
  if (verb === "stop" && !vm.spec.running) return `is ${phase} already`;
  return verb === "pause" && vm.spec.paused ? "is paused already" : undefined;
}

/** What is to become of spec: a merge patch. @param request when it is asked for, which makes it another request than those before */
export function specFor(
  verb: LifecycleVerb,
  { spec, status }: Standing,
  request: string,
  { graceSeconds, force = false, discardMemory = false }: VerbOptions = {},
): Record<string, unknown> {
  // Of this stop alone: spec.stop.force would pull the plug at each later one, too. Earlier versions left it there for good.
  const forced = force ? { force: request } : {};
  const unforced = spec.stop?.force && !force ? { force: null } : {};
  const how = { ...unforced, ...(graceSeconds === undefined ? {} : { graceSeconds }) };
  const stop = Object.keys(how).length > 0 ? { stop: how } : {};
  switch (verb) {
    case "start": {
      // One that ended by itself is started by a request: spec says already that it is to run. So is one that waits for its next start.
      const again = spec.running && !spec.suspended && ["Stopped", "Failed"].includes(status?.phase ?? "");
      return {
        running: true,
        suspended: null,
        discardMemory: discardMemory || null,
        ...stop,
        ...(again || status?.nextStartTime !== undefined ? { requests: { restart: request } } : {}),
      };
    }
    case "stop":
      return { running: false, ...stop, ...(force ? { requests: forced } : {}) };
    case "restart":
      return { requests: { restart: request, ...forced }, ...stop };
    case "reset":
      return { requests: { reset: request } };
    case "pause":
      return { paused: true };
    case "resume":
      return { paused: null };
    case "suspend":
      return { suspended: true, discardMemory: null };
  }
}
