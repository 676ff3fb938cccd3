/** What layers.ts writes down in a machine's folder, beside the layers of its disks. */
import { readFile } from "node:fs/promises";
import { type Static, type TSchema, Type } from "typebox";
import { Value } from "typebox/value";
import { memoryNow } from "../../compute/changes/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import type { Snapshot } from "../../compute/snapshots/kinds.ts";
import { formatBytes } from "../../resource/quantity.ts";
import { exists } from "../../system/exists.ts";

export type Taken = NonNullable<NonNullable<Snapshot["status"]>["taken"]>;
export type Facts = Omit<Taken, "disks">;
export type KeptMemory = NonNullable<Taken["memory"]>;

export const Files = Type.Record(Type.String(), Type.String());
export const Frozen = Type.Object({
  state: Type.Union([Type.Literal("taking"), Type.Literal("taken"), Type.Literal("deleted")]),
  /** By disk: the layer that it freezes. */
  layers: Files,
  /** By disk: the overlay that becomes active instead. */
  next: Files,
  taken: Type.Optional(Type.Unsafe<Taken>({ type: "object" })),
  /** Other machines may have them, and what is below them, open for reading. */
  lent: Type.Optional(Type.Boolean()),
});
export type Frozen = Static<typeof Frozen>;
/** A merge (layer-merging.ts), by names of layers: `into` stands on `from`, whatever its head says. `sure`: `from` has all, and is what `into` was. */
export const Merging = Type.Object({
  into: Type.String(),
  from: Type.String(),
  sure: Type.Optional(Type.Boolean()),
});
export type Merging = Static<typeof Merging>;
const SuspendedRun = Type.Object({
  /** The run that was, by the uid of its Instance. */
  run: Type.String(),
  time: Type.String(),
  saveMs: Type.Integer(),
  memory: Type.Unsafe<KeptMemory>({ type: "object" }),
});
export type SuspendedRun = Static<typeof SuspendedRun>;
export const Pointer = Type.Object({
  /** By disk. */
  active: Files,
  /** By disk: what the active layer was called before it went down into the one that is active now. */
  was: Type.Optional(Files),
  /** A snapshot, by uid. Goes before the guest runs: from then on the disks are not those of its memory. */
  resume: Type.Optional(Type.String()),
  /** Of a clone's first run: the memory of its template; goes as `resume` does. */
  template: Type.Optional(
    Type.Object({
      file: Type.String(),
      of: Type.Unsafe<NonNullable<Taken["memory"]>>({ type: "object" }),
    }),
  ),
  /** The machine was suspended just here: goes in the same way. */
  suspended: Type.Optional(SuspendedRun),
});
export type Pointer = Static<typeof Pointer>;

/** The text is for users. */
export class LayersError extends Error {}

/** @returns undefined when there is none. @throws LayersError when it is not what we write: nothing may be decided then */
export async function readJson<T extends TSchema>(path: string, schema: T): Promise<Static<T> | undefined> {
  if (!(await exists(path))) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch {
    // Told below.
  }
  if (!Value.Check(schema, value))
    throw new LayersError(`${path} is not as Vireo wrote it; mend it or restore it`);
  return value;
}

/** The machine that memory which is kept now is of: what the run has, not what it is asked for and may never get. */
export function describeMemory({ status = {}, spec }: Instance): Omit<KeptMemory, "sizeBytes" | "live"> {
  const { machineType = "", accelerator = "tcg", guestCpu, cpuModel, has } = status;
  const { hardware } = spec;
  const { disks, interfaces } = has ?? spec;
  return {
    machineType,
    accelerator,
    cpus: has?.cpus?.now ?? spec.cpus,
    memory: has?.memory ? formatBytes(memoryNow(has.memory)) : spec.memory,
    networks: interfaces.map(({ network }) => network),
    ...(disks && disks.length > 0 ? { disks: disks.map(({ name }) => name) } : {}),
    ...(has ? { has } : {}),
    ...(guestCpu ? { guestCpu } : {}),
    ...(cpuModel ? { cpuModel } : {}),
    ...(hardware ? { hardware } : {}),
  };
}
