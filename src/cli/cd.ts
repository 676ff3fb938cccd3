/** `vireo insert`, `eject`: what is in a machine's CD drive, changed in its spec as `kubectl edit` would, and waited for. */
import { modify } from "../client/client.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { type MachineOptions, machineOf } from "./machine-actions.ts";
import { missing } from "./missing.ts";
import { untilOver } from "./operation.ts";
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
  let last = "";
  const over = await untilOver(client, VirtualMachine, before.metadata, options, ({ status }) => {
    const { observedGeneration = 0, pendingChanges = [] } = status ?? {};
    if (observedGeneration < generation) return undefined;
    const pending = pendingChanges.find(({ field }) => field === `cdDrives[${drive}]`);
    if (pending && pending.reason !== last) print(`${what}: ${pending.reason}`);
    last = pending?.reason ?? "";
    if (!pending) return "done";
    return pending.restart ? "later" : undefined;
  });
  if (over === "gone") throw new UserError(`vm/${name} was deleted`);
  if (over === "done") print(done);
  if (over === "late")
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
