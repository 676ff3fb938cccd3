/** `vireo snapshot`, `rollback`, `migrate`: each makes an object of a machine that is there, as `kubectl create` would, and tells how it goes on. */
import { randomUUID } from "node:crypto";
import type { ServedKind } from "../client/discovery.ts";
import { GuestCommand, passwordContext } from "../compute/guest-commands/kinds.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Migration } from "../compute/migrations/kinds.ts";
import { Rollback, Snapshot } from "../compute/snapshots/kinds.ts";
import { nameOfNow } from "../resource/name-of-now.ts";
import { seal } from "../resource/sealed.ts";
import { missing } from "./missing.ts";
import { carryOut, type Standing } from "./operation.ts";
import { openSession, type Place, parseName, type Session } from "./resources.ts";
import { UserError } from "./user-error.ts";

export interface MachineOptions extends Place {
  /** "vm/web-1" */
  machine: string;
  timeoutMs: number;
  signal: AbortSignal;
}
type Print = (line: string) => void;

/** @throws UserError when it could not be taken */
export async function snapshot(
  options: MachineOptions & { name?: string; quiesce: boolean; memory: boolean },
  print: Print,
): Promise<void> {
  const { session, vm, namespace } = await thereOf(options);
  const name = options.name ?? nameOfNow(vm);
  const spec = { vm, quiesce: options.quiesce, memory: options.memory };
  const standing = (object: Snapshot): Standing => {
    const found = standingOf("Ready", ["Failed"])(object);
    const { taken } = object.status ?? {};
    if (found.over !== "done" || !taken) return found;
    const stood = taken.memory ? "the guest stood still for" : "writes waited";
    return { ...found, line: `is ready: ${CONSISTENT[taken.consistent]}; ${stood} ${taken.pauseMs} ms` };
  };
  await carryOut(
    session.client,
    Snapshot,
    { metadata: { name, namespace }, spec },
    { ...options, standing },
    print,
  );
}

const CONSISTENT = {
  Quiesced: "the guest had written out its file systems",
  Crash: "as after a power cut",
  Stopped: "the machine did not run",
  Memory: "with its memory",
};

export interface RollbackOptions {
  to: string;
  keep: boolean;
  keepMemory?: boolean;
  memory: boolean;
}

/** @throws UserError when it failed */
export async function rollback(options: MachineOptions & RollbackOptions, print: Print): Promise<void> {
  const { session, vm, namespace } = await thereOf(options);
  const { to: snapshot, keep, keepMemory, memory } = options;
  if (!(await session.client.get(Snapshot, { name: snapshot, namespace })))
    throw missing("snapshot", snapshot, namespace);
  const spec = { vm, snapshot, keep, ...(keepMemory === undefined ? {} : { keepMemory }), memory };
  const standing = standingOf("Succeeded", ["Failed"]);
  const metadata = { name: nameOfNow(vm), namespace };
  await carryOut(session.client, Rollback, { metadata, spec }, { ...options, standing }, print);
}

/**
 * Runs a program in the guest, says what it said, and takes the object away again.
 * @returns its exit code; 128 and more by a signal, as shells have it. @throws UserError when it could not be run
 */
export async function exec(
  options: MachineOptions & { command: string[]; input?: string; runSeconds: number },
): Promise<number> {
  const { session, vm, namespace } = await machineOf(options);
  const { command, input, runSeconds: timeoutSeconds } = options;
  const metadata = { name: `${nameOfNow(vm)}-${randomUUID().slice(0, 4)}`, namespace };
  const spec = { vm, command, timeoutSeconds, ...(input === undefined ? {} : { input }) };
  let last: GuestCommand["status"];
  const standing = ({ status }: GuestCommand): Standing => {
    last = status;
    const line = status?.message ?? "";
    const ended = status?.exitCode !== undefined || status?.signal !== undefined;
    if (ended || status?.phase === "Succeeded") return { line, over: "done" };
    return status?.phase === "Failed" ? { line, over: "failed" } : { line };
  };
  try {
    const left = `nobody waits any more for what was run in vm/${vm}; it may run on there for ${timeoutSeconds} s`;
    await carryOut(
      session.client,
      GuestCommand,
      { metadata, spec },
      { ...options, standing, left },
      () => {},
    );
  } finally {
    await session.client.delete(GuestCommand, metadata).catch(() => undefined);
  }
  process.stdout.write(last?.stdout ?? "");
  process.stderr.write(last?.stderr ?? "");
  if (last?.truncated) process.stderr.write("(more was said than is kept)\n");
  return last?.exitCode ?? 128 + (last?.signal ?? 0);
}

/**
 * Gives a user of the guest a password. It is sealed for the agent of the machine's host: neither the API nor the store ever has it.
 * @throws UserError when it could not be set
 */
export async function setPassword(
  options: MachineOptions & { user: string; password: string },
  print: Print,
): Promise<void> {
  const { session, vm, namespace } = await machineOf(options);
  const { client } = session;
  const { user, password } = options;
  const machine = await client.get(VirtualMachine, { name: vm, namespace });
  if (!machine) throw missing("machine", vm, namespace);
  const { host: name } = machine.status ?? {};
  const host = name === undefined ? undefined : await client.get(Host, { name });
  const key = host?.status?.agent?.sealingKey;
  if (!machine.spec.running || !host)
    throw new UserError(`${vm} does not run; start it first: its guest sets the password`);
  if (key === undefined)
    throw new UserError(`the agent of host ${name} is too old to take passwords; start it anew`);
  const sealed = seal(key, password, passwordContext(machine.metadata.uid ?? "", user));
  const metadata = { name: `${nameOfNow(vm)}-${randomUUID().slice(0, 4)}`, namespace };
  const spec = { vm, password: { user, sealed } };
  const standing = ({ status }: GuestCommand): Standing => {
    const line = status?.phase === "Succeeded" ? `${user} has a new password` : (status?.message ?? "waits");
    if (status?.phase === "Succeeded") return { line, over: "done" };
    return status?.phase === "Failed" ? { line, over: "failed" } : { line };
  };
  try {
    const left = `it is not known whether ${user} of vm/${vm} has the new password or the old one`;
    await carryOut(client, GuestCommand, { metadata, spec }, { ...options, standing, left }, () => {});
  } finally {
    await client.delete(GuestCommand, metadata).catch(() => undefined);
  }
  print(`${user} of vm/${vm} has a new password`);
}

/** @throws UserError when it failed or was called off */
export async function migrate(options: MachineOptions & { to?: string }, print: Print): Promise<void> {
  const { session, vm, namespace } = await thereOf(options);
  const spec = { vm, ...(options.to ? { to: options.to, reason: "asked for by hand" } : {}) };
  const standing = standingOf("Succeeded", ["Failed", "Cancelled"]);
  const metadata = { name: nameOfNow(vm), namespace };
  await carryOut(session.client, Migration, { metadata, spec }, { ...options, standing }, print);
}

/** @throws UserError when the word names no machine */
export async function machineOf({ machine, ...place }: Omit<MachineOptions, "timeoutMs">): Promise<{
  session: Session;
  kind: ServedKind;
  vm: string;
  namespace: string;
}> {
  const session = await openSession(place);
  const { kind, name: vm } = parseName(session.kinds, "vm", machine);
  return { session, kind, vm, namespace: session.namespace ?? "default" };
}

/** Before an object is made that could only fail, and would stay. @throws UserError when there is no such machine */
async function thereOf(options: MachineOptions): ReturnType<typeof machineOf> {
  const found = await machineOf(options);
  const { session, vm: name, namespace } = found;
  if (!(await session.client.get(VirtualMachine, { name, namespace })))
    throw missing("machine", name, namespace);
  return found;
}

/** Of a kind whose status has a phase and a message. */
const standingOf =
  (done: string, failed: readonly string[]) =>
  ({ status }: { status?: { phase?: string; message?: string } }): Standing => {
    const { phase = "Pending", message } = status ?? {};
    const line = message ?? phase.toLowerCase();
    if (phase === done) return { line, over: "done" };
    return failed.includes(phase) ? { line, over: "failed" } : { line };
  };
