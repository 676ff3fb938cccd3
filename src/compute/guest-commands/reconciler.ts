/** The GuestCommand reconciler; the protocol is in kinds.ts here. Machine by machine it reads everything fresh and does what is next. */
import { type Client, modify } from "../../client/client.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isApiError } from "../../resource/errors.ts";
import { at, ignoreGone, keyOfMachine } from "../actions.ts";
import { isHeld } from "../custody.ts";
import { Instance, VirtualMachine, VM_LABEL } from "../kinds.ts";
import { GuestCommand } from "./kinds.ts";

export interface GuestCommandContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

type Status = NonNullable<GuestCommand["status"]>;

/** How long the end of one is kept to be read. */
const KEPT_MS = 3_600_000;
/** A machine that starts, or moves, is waited for. */
const LOOK_AGAIN_MS = 2000;

const isOver = ({ status }: GuestCommand) => status?.phase === "Succeeded" || status?.phase === "Failed";

/** Runs until the signal aborts; never rejects. */
export async function runGuestCommandReconciler(context: GuestCommandContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const commands = new Informer(client, GuestCommand, { log, clock });
  const instances = new Informer(client, Instance, { log, clock });
  const controller = new Controller({
    name: "guestcommand",
    reconcile: (key) => reconcile(context, key),
    log,
    clock,
  });
  commands.onChange((_key, now, old) => {
    const command = now ?? old;
    if (command) controller.enqueue(keyOfMachine(command));
  });
  instances.onChange((_key, now) => {
    if (now?.spec.guestTask) controller.enqueue(keyOfMachine(now));
  });
  await Promise.all([controller.run(signal), commands.run(signal), instances.run(signal)]);
}

async function reconcile(
  context: GuestCommandContext,
  key: string,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { client, clock } = context;
  const [namespace = "", name = ""] = key.split("/");
  const [{ items: commands }, { items: instances }] = await Promise.all([
    client.list(GuestCommand, { namespace, fieldSelector: `spec.vm=${name}` }),
    client.list(Instance, { namespace, labelSelector: `${VM_LABEL}=${name}` }),
  ]);
  for (const instance of instances) await settle(context, instance, commands);
  const now = clock.now().getTime();
  let again = Number.POSITIVE_INFINITY;
  for (const command of commands.filter(isOver)) {
    const left = Date.parse(command.status?.finishedTime ?? "") + KEPT_MS - now;
    if (left <= 0) await client.delete(GuestCommand, at(command)).catch(ignoreGone);
    else again = Math.min(again, left);
  }
  const open = commands
    .filter((command) => !isOver(command) && !command.metadata.deletionTimestamp)
    .sort((a, b) => ((a.metadata.creationTimestamp ?? "") < (b.metadata.creationTimestamp ?? "") ? -1 : 1));
  const [first] = open;
  if (first) again = Math.min(again, (await begin(context, first, instances)) ? again : LOOK_AGAIN_MS);
  return Number.isFinite(again) ? { requeueAfterMs: again } : undefined;
}

/** Takes over what the agent says of the task of an instance; one that is over or that nobody waits for goes. */
async function settle(
  context: GuestCommandContext,
  instance: Instance,
  commands: readonly GuestCommand[],
): Promise<void> {
  const { guestTask: task } = instance.spec;
  if (!task) return;
  const command = commands.find(({ metadata }) => metadata.uid === task.id);
  const said = instance.status?.guestTask;
  if (command && !isOver(command)) {
    if (said?.id !== task.id || said.phase === "Running") {
      if (instance.status?.custody !== "Released") return;
      const message = "the machine ended or moved while it ran; it is not known how it ended";
      await write(context, command, { phase: "Failed", message });
    } else {
      const { id: _, phase, ...result } = said;
      const succeeded = phase === "Done" && result.exitCode === 0;
      await write(context, command, { phase: succeeded ? "Succeeded" : "Failed", ...result });
    }
  }
  await modify(context.client, Instance, at(instance), "object", (now) => {
    if (now.spec.guestTask?.id !== task.id) return undefined;
    const { guestTask: __, ...spec } = now.spec;
    return { ...now, spec };
  });
}

/** @returns false when it has to wait for the machine */
async function begin(
  context: GuestCommandContext,
  command: GuestCommand,
  instances: readonly Instance[],
): Promise<boolean> {
  const { client } = context;
  const { instance: given } = command.status ?? {};
  const uid = command.metadata.uid ?? "";
  const holder = instances.find(isHeld);
  if (given) {
    const on = instances.find(({ metadata }) => metadata.name === given);
    // It is under way there; or what was written last comes first.
    if (on?.spec.guestTask?.id === uid) return true;
    // Its task may never have been written, or have gone with its instance.
    const message =
      "it is not known whether it ran, or how it ended: the machine, or the control plane, ended or moved just then";
    await write(context, command, { phase: "Failed", message });
    return true;
  }
  const vm = await client.get(VirtualMachine, {
    namespace: command.metadata.namespace ?? "",
    name: command.spec.vm,
  });
  const refused = !vm
    ? `there is no machine ${command.spec.vm} (spec.vm)`
    : !vm.spec.running || vm.spec.suspended
      ? `${command.spec.vm} does not run; start it first`
      : vm.spec.paused
        ? `${command.spec.vm} is paused; resume it first`
        : undefined;
  if (refused) {
    await write(context, command, { phase: "Failed", message: refused });
    return true;
  }
  const ready =
    holder && ["Starting", "Running"].includes(holder.status?.phase ?? "") && !holder.spec.migrateTo;
  if (!holder || !ready || holder.spec.guestTask) {
    const message = holder?.spec.guestTask
      ? "waits for the one before it"
      : `waits until ${command.spec.vm} runs and stays where it is`;
    if (command.status?.message !== message) await write(context, command, { phase: "Pending", message });
    return false;
  }
  const { vm: _, ...task } = command.spec;
  // First where, then the task itself: were it the other way round, it could be given twice.
  const instance = holder.metadata.name;
  const startedTime = context.clock.now().toISOString();
  const begun = await write(context, command, { phase: "Running", instance, startedTime });
  if (begun?.status?.phase !== "Running") return false;
  try {
    const current = await modify(client, Instance, at(holder), "object", (now) =>
      now.spec.guestTask ? undefined : { ...now, spec: { ...now.spec, guestTask: { id: uid, ...task } } },
    );
    return current?.spec.guestTask?.id === uid;
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
    return false;
  }
}

/** @returns undefined when it is gone, or over already */
async function write(
  { client, clock }: GuestCommandContext,
  command: GuestCommand,
  status: Status,
): Promise<GuestCommand | undefined> {
  const over = status.phase === "Succeeded" || status.phase === "Failed";
  const finished = over ? { finishedTime: clock.now().toISOString() } : {};
  return modify(client, GuestCommand, at(command), "status", (now) => {
    if (now.metadata.uid !== command.metadata.uid || isOver(now)) return undefined;
    const { message: _, ...before } = now.status ?? {};
    return { ...now, status: { ...before, ...status, ...finished } };
  });
}
