/** `vireo start`, `stop`, `restart`, `reset`, `pause`, `resume`, `suspend`: each changes the machine's spec, as `kubectl patch` would, and waits for what comes of it. */
import { VirtualMachine } from "../compute/kinds.ts";
import { Informer } from "../reconcile/informer.ts";
import { getCondition } from "../resource/object.ts";
import { type MachineOptions, machineOf } from "./machine-actions.ts";
import { missing } from "./missing.ts";
import { UserError } from "./user-error.ts";

export type LifecycleVerb = "start" | "stop" | "restart" | "reset" | "pause" | "resume" | "suspend";

export interface LifecycleOptions extends MachineOptions {
  wait: boolean;
  /** stop, restart: instead of what spec.stop says. */
  graceSeconds?: number;
  force?: boolean;
  /** start: boot, whatever memory is kept. */
  discardMemory?: boolean;
}

type Print = (line: string) => void;
type Phase = NonNullable<NonNullable<VirtualMachine["status"]>["phase"]>;

interface Change {
  spec: Record<string, unknown>;
  /** In which of them the machine arrives, and what that is told as. */
  phases: readonly Phase[];
  done: string;
  /** Besides the phase. */
  reached?: (vm: VirtualMachine) => boolean;
}

/** @throws UserError when it cannot be, or the time is over */
export async function lifecycle(verb: LifecycleVerb, options: LifecycleOptions, print: Print): Promise<void> {
  const { session, vm: name, namespace } = await machineOf(options);
  const { client } = session;
  const at = { name, namespace };
  const what = `vm/${name}`;
  const before = await client.get(VirtualMachine, at);
  if (!before) throw missing("machine", name, namespace);
  const refused = refusal(verb, before);
  if (refused) throw new UserError(`${what} ${refused}`);
  const change = changeOf(verb, before, options);
  const patched = await client.patch(VirtualMachine, at, { spec: change.spec });
  const { generation = 0 } = patched.metadata;
  if (!options.wait) return print(`${what} is told to ${verb}`);
  const watching = new AbortController();
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const informer = new Informer(client, VirtualMachine, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
  });
  let last = "nobody has begun with it yet";
  let over: "done" | "gone" | undefined;
  informer.onChange((_key, now) => {
    if (over) return;
    const { phase, observedGeneration = 0 } = now?.status ?? {};
    if (!now || now.metadata.uid !== patched.metadata.uid) over = "gone";
    else if (observedGeneration >= generation) {
      const message = getCondition(now.status?.conditions, "Ready")?.message ?? "";
      const line = `is ${phase}${message ? `: ${message}` : ""}`;
      if (phase && change.phases.includes(phase) && (change.reached?.(now) ?? true)) over = "done";
      else if (line !== last) print(`${what} ${line}`);
      last = line;
    }
    if (over) watching.abort();
  });
  await informer.run(AbortSignal.any([options.signal, watching.signal, timeout]));
  if (over === "done") print(`${what} ${change.done}`);
  else if (over === "gone") throw new UserError(`${what} was deleted`);
  else if (timeout.aborted)
    throw new UserError(
      `${what} has not come so far after ${options.timeoutMs / 1000} s, and goes on: ${last}; \`vireo get ${what} -w\` tells more`,
    );
}

/** Why it makes no sense now. */
function refusal(verb: LifecycleVerb, { spec, status }: VirtualMachine): string | undefined {
  const { phase = "Pending" } = status ?? {};
  const isDown = !spec.running || ["Stopped", "Failed", "Suspended"].includes(phase);
  if (["restart", "reset", "pause", "suspend"].includes(verb) && isDown)
    return phase === "Suspended" || phase === "Stopped" || phase === "Failed"
      ? `does not run (it is ${phase}); vireo start starts it`
      : "is not to run (spec.running is false); vireo start starts it";
  if (verb === "resume" && !spec.paused) {
    const { reason, message = "" } = getCondition(status?.conditions, "Ready") ?? {};
    if (phase === "Suspended") return "is suspended; vireo start goes on with its memory";
    return phase === "Paused" && reason !== "Paused"
      ? `was not paused by anybody: ${message}`
      : `is not paused: it is ${phase}`;
  }
  return undefined;
}

function changeOf(verb: LifecycleVerb, vm: VirtualMachine, options: LifecycleOptions): Change {
  const { graceSeconds, force = false, discardMemory = false } = options;
  const request = new Date().toISOString();
  const { phase } = vm.status ?? {};
  const runs: readonly Phase[] = vm.spec.paused ? ["Paused"] : ["Running"];
  const stop = {
    force: force || null,
    ...(graceSeconds === undefined ? {} : { graceSeconds }),
  };
  switch (verb) {
    case "start": {
      // One that ended by itself is started by a request: spec says already that it is to run.
      const again = vm.spec.running && !vm.spec.suspended && (phase === "Stopped" || phase === "Failed");
      return {
        spec: {
          running: true,
          suspended: null,
          discardMemory: discardMemory || null,
          stop: { force: null },
          ...(again || isWaiting(vm) ? { requests: { restart: request } } : {}),
        },
        phases: runs,
        done: "runs",
      };
    }
    case "stop":
      return { spec: { running: false, stop }, phases: ["Stopped", "Suspended"], done: "is stopped" };
    case "restart":
      return {
        spec: { requests: { restart: request }, stop },
        phases: runs,
        done: "runs again",
        reached: ({ status }) => status?.requests?.restart === request,
      };
    case "reset":
      return {
        spec: { requests: { reset: request } },
        phases: ["Starting", ...runs],
        done: "was reset",
        reached: ({ status }) => status?.requests?.reset === request,
      };
    case "pause":
      return {
        spec: { paused: true },
        phases: ["Paused"],
        done: "is paused",
        reached: ({ status }) => getCondition(status?.conditions, "Ready")?.reason === "Paused",
      };
    case "resume":
      return { spec: { paused: null }, phases: ["Starting", "Running"], done: "runs on" };
    case "suspend":
      return {
        spec: { suspended: true, discardMemory: null },
        phases: ["Suspended"],
        done: "is suspended",
      };
  }
}

/** For its next start, after ends that nobody asked for. */
const isWaiting = ({ status }: VirtualMachine) => status?.nextStartTime !== undefined;
