/** `vireo host power on`, `off`, `status`, `acknowledge`: change the host's spec, as `kubectl patch` would, and tell what comes of it. */
import { Host } from "../compute/hosts/kinds.ts";
import { failedWakeTest, POWER_AS_ASKED } from "../power/kinds.ts";
import { getCondition } from "../resource/object.ts";
import { type HostOptions, hostOf } from "./host-actions.ts";
import { follow, type Standing } from "./operation.ts";
import { UserError } from "./user-error.ts";

type Print = (line: string) => void;

/** Reasons that nothing but another request ends. */
const FINAL = ["TimedOut", "ControlPlane", "WakeTestFailed"];

/** @throws UserError when it cannot be, or the time is over */
export async function switchPower(
  verb: "on" | "off",
  options: HostOptions & { timeoutMs: number; wait: boolean; force: boolean; signal: AbortSignal },
  print: Print,
): Promise<void> {
  const { client, host: before } = await hostOf(options);
  const { name } = before.metadata;
  const what = `host/${name}`;
  if (!before.spec.bmc)
    throw new UserError(`${what} cannot be switched: its spec.bmc does not say through what (docs/hosts.md)`);
  const power = verb === "on" ? "On" : options.force ? "ForceOff" : "Off";
  const { lastTask } = before.status?.power ?? {};
  // A request that failed is tried again when it is a new one.
  if (before.spec.power === power && lastTask && !lastTask.succeeded)
    await client.patch(Host, { name }, { spec: { power: null } });
  const closes = verb === "off" && !before.spec.maintenance ? { unschedulable: true } : {};
  const spec = { power, ...closes };
  const patched = await client.patch(Host, { name }, { spec });
  if (!options.wait) return print(`${what} is told to be switched ${verb}`);
  const standing = ({ metadata, status }: Host): Standing => {
    const found = getCondition(status?.conditions, POWER_AS_ASKED);
    if (!found || (found.observedGeneration ?? 0) < (metadata.generation ?? 0))
      return { line: "waits for the control plane to look at it" };
    const { message: line, reason } = found;
    if (FINAL.includes(reason)) return { line, over: "failed" };
    return found.status === "True" ? { line, over: "done" } : { line };
  };
  await follow(client, Host, patched.metadata, { ...options, standing }, print);
  if (verb === "on" && (patched.spec.unschedulable || patched.spec.maintenance))
    print(`host/${name} takes no machines; vireo uncordon ${name} ends that`);
}

/** @throws UserError when there is no such host */
export async function powerStatus(options: HostOptions, print: Print): Promise<void> {
  const { host } = await hostOf(options);
  const { spec, status, metadata } = host;
  const what = `host/${metadata.name}`;
  const { power } = status ?? {};
  if (!spec.bmc) return print(`${what}: its power is not known (no spec.bmc)`);
  print(`${what}: ${power?.state ?? "Unknown"}${power ? ` since ${power.since}` : ", not asked yet"}`);
  const condition = getCondition(status?.conditions, POWER_AS_ASKED);
  if (condition) print(`asked for: ${spec.power ?? "nothing"}: ${condition.message}`);
  const { task, lastTask, lastWakeTest, automatic, past = [] } = power ?? {};
  if (automatic)
    print(
      `PowerPolicy ${automatic.policy}: ${automatic.power} since ${automatic.since}: ${automatic.reason}`,
    );
  const came = past.at(-1);
  if (came)
    print(
      `came of it: ${came.power} of ${came.since} ${came.succeeded ? "succeeded" : "failed"}: ${came.message}`,
    );
  if (task) print(`under way: ${task.kind} since ${task.startedTime}`);
  if (lastTask)
    print(
      `last: ${lastTask.kind} of ${lastTask.startedTime} ${lastTask.succeeded ? "succeeded" : "failed"}: ${lastTask.message}`,
    );
  if (lastWakeTest)
    print(
      `wake test of ${lastWakeTest.startedTime}: ${lastWakeTest.passed ? "passed" : "failed"}: ${lastWakeTest.message}`,
    );
}

/** @throws UserError when there is nothing to acknowledge */
export async function acknowledge(options: HostOptions, print: Print): Promise<void> {
  const { client, host } = await hostOf(options);
  const { name } = host.metadata;
  const { startedTime: acknowledgedWakeTest } = host.status?.power?.lastWakeTest ?? {};
  if (!failedWakeTest(host))
    throw new UserError(`host/${name} has failed no wake test that is not acknowledged yet`);
  await client.patch(Host, { name }, { spec: { powerManagement: { acknowledgedWakeTest } } });
  print(`host/${name} may be shut down again, and is tested again`);
}
