/** `vireo start`, `stop`, `restart`, `reset`, `pause`, `resume`, `suspend`: each changes the machine's spec, as `kubectl patch` would, and waits for what comes of it. */
import { VirtualMachine } from "../compute/kinds.ts";
import { type LifecycleVerb, specFor, type VerbOptions, whyNot } from "../compute/lifecycle/verbs.ts";
import { getCondition } from "../resource/object.ts";
import { type MachineOptions, machineOf } from "./machine-actions.ts";
import { missing } from "./missing.ts";
import { tellsMore, untilOver } from "./operation.ts";
import { UserError } from "./user-error.ts";

export type { LifecycleVerb };

export interface LifecycleOptions extends MachineOptions, VerbOptions {
  wait: boolean;
}

type Print = (line: string) => void;
type Phase = NonNullable<NonNullable<VirtualMachine["status"]>["phase"]>;

interface Change {
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
  const refused = whyNot(verb, before);
  if (refused) throw new UserError(`${what} ${refused}${verb === "resume" ? "" : "; vireo start starts it"}`);
  const request = new Date().toISOString();
  const change = changeOf(verb, before, request);
  const patched = await client.patch(VirtualMachine, at, { spec: specFor(verb, before, request, options) });
  const { generation = 0 } = patched.metadata;
  if (!options.wait) return print(`${what} is told to ${verb}`);
  let last = "nobody has begun with it yet";
  const over = await untilOver(client, VirtualMachine, patched.metadata, options, (now) => {
    const { phase, observedGeneration = 0, conditions } = now.status ?? {};
    if (observedGeneration < generation) return undefined;
    if (phase && change.phases.includes(phase) && (change.reached?.(now) ?? true)) return "done";
    const message = getCondition(conditions, "Ready")?.message ?? "";
    const line = `is ${phase}${message ? `: ${message}` : ""}`;
    if (line !== last) print(`${what} ${line}`);
    last = line;
    return undefined;
  });
  if (over === "done") print(`${what} ${change.done}`);
  if (over === "gone") throw new UserError(`${what} was deleted`);
  if (over === "late")
    throw new UserError(
      `${what} has not come so far after ${options.timeoutMs / 1000} s, and goes on: ${last}; ${tellsMore(VirtualMachine, at)}`,
    );
}

/** @param request when it was asked for */
function changeOf(verb: LifecycleVerb, vm: VirtualMachine, request: string): Change {
  const runs: readonly Phase[] = vm.spec.paused ? ["Paused"] : ["Running"];
  switch (verb) {
    case "start":
      return { phases: runs, done: "runs" };
    case "stop":
      return { phases: ["Stopped", "Suspended"], done: "is stopped" };
    case "restart":
      return {
        phases: runs,
        done: "runs again",
        reached: ({ status }) => status?.requests?.restart === request,
      };
    case "reset":
      return {
        phases: ["Starting", ...runs],
        done: "was reset",
        reached: ({ status }) => status?.requests?.reset === request,
      };
    case "pause":
      return {
        phases: ["Paused"],
        done: "is paused",
        reached: ({ status }) => getCondition(status?.conditions, "Ready")?.reason === "Paused",
      };
    case "resume":
      return { phases: ["Starting", "Running"], done: "runs on" };
    case "suspend":
      return { phases: ["Suspended"], done: "is suspended" };
  }
}
