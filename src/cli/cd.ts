/** `vireo insert`, `eject`: what is in a machine's CD drive, changed in its spec as `kubectl edit` would, and waited for. */
import { modify } from "../client/client.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Informer } from "../reconcile/informer.ts";
import { type MachineOptions, machineOf } from "./machine-actions.ts";
import { missing } from "./missing.ts";
import { UserError } from "./user-error.ts";

export interface CdOptions extends MachineOptions {
  /** The only one when absent. */
  drive?: string;
  /** The Image; nothing when absent. */
  image?: string;
  force: boolean;
}

/** @throws UserError when there is no such drive, or its guest has not let go of it in time */
export async function changeCd(options: CdOptions, print: (line: string) => void): Promise<void> {
  const { session, vm: name, namespace } = await machineOf(options);
  const { client } = session;
  const { image, force } = options;
  const at = { name, namespace };
  const before = await client.get(VirtualMachine, at);
  if (!before) throw missing("machine", name, namespace);
  const drive = driveOf(before, options.drive);
  const what = `the drive ${drive} of vm/${name}`;
  const patched = await modify(client, VirtualMachine, at, "object", (vm) => ({
    ...vm,
    spec: {
      ...vm.spec,
      cdDrives: (vm.spec.cdDrives ?? []).map((each) =>
        each.name === drive
          ? { name: drive, ...(image === undefined ? {} : { image }), ...(force ? { force } : {}) }
          : each,
      ),
    },
  }));
  const { generation = 0 } = patched?.metadata ?? {};
  const done = image === undefined ? `${what} is empty` : `${image} is in ${what}`;
  const watching = new AbortController();
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const informer = new Informer(client, VirtualMachine, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
  });
  let last = "";
  let over: "done" | "later" | "gone" | undefined;
  informer.onChange((_key, now) => {
    if (over) return;
    const { observedGeneration = 0, pendingChanges = [] } = now?.status ?? {};
    const pending = pendingChanges.find(({ field }) => field === `cdDrives[${drive}]`);
    if (!now || now.metadata.uid !== before.metadata.uid) over = "gone";
    else if (observedGeneration >= generation) {
      if (pending && pending.reason !== last) print(`${what}: ${pending.reason}`);
      last = pending?.reason ?? "";
      if (!pending) over = "done";
      else if (pending.restart) over = "later";
    }
    if (over) watching.abort();
  });
  await informer.run(AbortSignal.any([options.signal, watching.signal, timeout]));
  if (over === "gone") throw new UserError(`vm/${name} was deleted`);
  if (over === "done") print(done);
  else if (timeout.aborted)
    throw new UserError(
      `${what} has not been changed after ${options.timeoutMs / 1000} s, and it is tried on: ${last || "its host has not said anything"}`,
    );
}

/** @throws UserError */
function driveOf({ metadata, spec }: VirtualMachine, named: string | undefined): string {
  const names = (spec.cdDrives ?? []).map(({ name }) => name);
  const [first, ...more] = names;
  if (first === undefined)
    throw new UserError(
      `vm/${metadata.name} has no CD drive; give it one, for its next start: spec.cdDrives: [{ name: cd }]`,
    );
  if (named !== undefined && !names.includes(named))
    throw new UserError(`vm/${metadata.name} has no drive ${named}; it has ${names.join(", ")}`);
  if (named === undefined && more.length > 0)
    throw new UserError(`vm/${metadata.name} has the drives ${names.join(", ")}; say which with --drive`);
  return named ?? first;
}
