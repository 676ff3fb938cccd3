/** What the API tells of hosts, machines, images, plans, and of objects that are not of their kind's shape. */
import type { Client } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { VirtualMachine } from "../../compute/kinds.ts";
import { isFinal, Migration } from "../../compute/migrations/kinds.ts";
import { Image } from "../../images/kinds.ts";
import { KINDS } from "../../kinds.ts";
import { heldForPower, WAKE_TEST_FAILED } from "../../power/kinds.ts";
import { INVALID } from "../../resource/invalid.ts";
import { getCondition, keyOf } from "../../resource/object.ts";
import { restsAsWanted } from "../watch-vms.ts";
import { counted, type Finding, formatDuration, ok, problem, warning } from "./finding.ts";

/** `agents`: hosts whose agents were started on this machine. */
export async function checkHosts(
  client: Client,
  version: string,
  agents: readonly string[] = [],
): Promise<Finding[]> {
  const { items } = await client.list(Host);
  if (items.length === 0)
    return [problem("there is no host", "run `vireo agent` on one: `vireo up` does for this machine")];
  const missing = agents
    .filter((name) => !items.some(({ metadata }) => metadata.name === name))
    .map((name) =>
      problem(
        `${name} is not there, though its agent was started on this machine`,
        "if it was deleted, it is taken out: `vireo down --keep`, then `vireo up` has it enrol again; else the log of its agent tells more",
      ),
    );
  const found = items.map(({ metadata: { name }, spec, status }) => {
    const isToBeOff = spec.power === "Off" || spec.power === "ForceOff";
    if (isToBeOff && status?.power?.state === "Off") return ok(`${name} is off, as asked (spec.power)`);
    const ready = getCondition(status?.conditions, "Ready");
    const rests = ready?.status !== "True" && restOf(spec, status);
    if (rests) return ok(`${name} rests: ${rests}`);
    if (ready?.status !== "True")
      return problem(
        `${name} is not ready (${ready?.status ?? "Unknown"}): ${ready?.message ?? "it was never heard of"}`,
        "does its agent run, and reach the control plane? Its machines run on, if the host does",
      );
    const agent = status?.agent?.version;
    if (agent && agent !== version)
      return warning(
        `${name}: its agent has version ${agent}, this command ${version}`,
        "bring both to one version",
      );
    return ok(`${name} is ready, with QEMU ${status?.facts?.qemu.version ?? "of unknown version"}`);
  });
  return [...missing, ...found];
}

/** Why a host is silent, where Vireo itself switched it off: for a PowerPolicy or a wake test that has not failed. */
function restOf(spec: Host["spec"], status: Host["status"]): string | undefined {
  if (spec.power !== undefined || getCondition(status?.conditions, WAKE_TEST_FAILED)?.status === "True")
    return undefined;
  const { task, state, automatic } = status?.power ?? {};
  const isWanted = task !== undefined || (state === "Off" && automatic !== undefined);
  return isWanted ? heldForPower({ spec, status }) : undefined;
}

/** A machine may be on its way for this long before it is told of. */
const PATIENCE_MS = 120_000;

export async function checkMachines(client: Client): Promise<Finding[]> {
  const { items } = await client.list(VirtualMachine);
  const bad = items.flatMap((vm): Finding[] => {
    const ready = getCondition(vm.status?.conditions, "Ready");
    if (!vm.spec.running || ready?.status === "True") return [];
    const since = Date.parse(ready?.lastTransitionTime ?? vm.metadata.creationTimestamp ?? "");
    const age = Date.now() - since;
    const what = `${keyOf(vm)} is ${vm.status?.phase ?? "Pending"} for ${formatDuration(age)}: ${ready?.message ?? "nobody has looked after it yet"}`;
    if (age < PATIENCE_MS || restsAsWanted(vm)) return [ok(what)];
    return [
      problem(what, `vireo explain vm/${vm.metadata.name} -n ${vm.metadata.namespace}, and its events`),
    ];
  });
  const running = items.filter(({ status }) => status?.phase === "Running").length;
  return [ok(`${counted(items.length, "machine")}, ${running} running`), ...bad];
}

export async function checkWork(client: Client): Promise<Finding[]> {
  const images = (await client.list(Image)).items.filter(({ status }) => status?.phase === "Failed");
  const open = (await client.list(Migration)).items.filter(
    (migration) =>
      !isFinal(migration) && Date.now() - Date.parse(migration.metadata.creationTimestamp ?? "") > 3_600_000,
  );
  const found = [
    ...images.map((image) =>
      problem(
        `image ${image.metadata.name} could not be built: ${getCondition(image.status?.conditions, "Ready")?.message ?? "no reason given"}`,
        "it is tried again every 5 min, and at once when its spec changes",
      ),
    ),
    ...open.map((migration) =>
      warning(
        `migration ${keyOf(migration)} goes on for more than an hour: ${migration.status?.message ?? ""}`,
        "deleting it calls the move off; the machine runs on where it is",
      ),
    ),
  ];
  return found.length > 0 ? found : [ok("no image has failed, no migration hangs")];
}

export async function checkStored(client: Client): Promise<Finding[]> {
  const each = await Promise.all(
    KINDS.map(async (kind) =>
      (await client.list(kind)).skipped.map((metadata) =>
        problem(
          `${kind.plural} ${metadata.namespace ? `${metadata.namespace}/` : ""}${metadata.name} is left out of all work: ${metadata.annotations?.[INVALID] ?? "not of its kind's shape"}`,
          `kubectl edit ${kind.plural} ${metadata.name}, or delete it`,
        ),
      ),
    ),
  );
  const found = each.flat();
  return found.length > 0 ? found : [ok("every stored object has the shape of its kind")];
}
