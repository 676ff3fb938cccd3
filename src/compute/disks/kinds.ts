/**
 * Data disks of a machine, beside its system disk. Each is a disk of layers as that one (src/agent/layers.ts): in snapshots, rollbacks and moves.
 *
 * Data outlive the list: a disk that is taken out of spec.disks is detached and kept with the machine's disks, and whoever names it again has it
 * back. Only the machine's deletion destroys it.
 */
import { type Static, Type } from "typebox";
import type { Cause } from "../../resource/errors.ts";
import { Name, Quantity, rules } from "../../resource/kind.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { VirtualMachine } from "../kinds.ts";

const MiB = 2 ** 20;
/** What virtio has room for in a disk's serial number, by which the guest knows it. */
const MAX_NAME = 20;
/** How many there may be. */
export const MAX_DISKS = 16;

export const DataDisk = Type.Object(
  {
    name: Type.String({
      pattern: "^[a-z]([-a-z0-9]*[a-z0-9])?$",
      maxLength: MAX_NAME,
      description:
        "Its name; the guest sees it as the disk's serial number: /dev/disk/by-id/virtio-NAME where udev runs.",
    }),
    size: Type.Optional(
      Quantity({
        description: "Size of the disk; that of its image by default. It may grow, never shrink.",
        minimum: MiB,
        maximum: 2 ** 46,
      }),
    ),
    image: Type.Optional(Name("The Image that it begins as; an empty disk without.")),
    readOnly: Type.Optional(
      Type.Boolean({ description: "The guest cannot write to it; it is in no snapshot." }),
    ),
  },
  rules({
    rule: "has(self.size) || has(self.image)",
    message: "an empty disk needs a size",
    fieldPath: ".size",
    reason: "FieldValueRequired",
  }),
);
export type DataDisk = Static<typeof DataDisk>;

type Spec = VirtualMachine["spec"];

const bad = (field: string, value: unknown, message: string): Cause => ({
  field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${message}`,
});

/** What of a machine's disks may not change so. `begun`: it has run, so they are there. */
export function checkDisks(spec: Spec, old: Spec | undefined, begun: boolean): Cause[] {
  const causes: Cause[] = [];
  const shrinks = (now: string | undefined, before: string | undefined) =>
    before !== undefined && (now === undefined || parseBytes(now) < parseBytes(before));
  if (old && shrinks(spec.diskSize, old.diskSize))
    causes.push(bad("spec.diskSize", spec.diskSize, `a disk cannot shrink; it has ${old.diskSize}`));
  for (const [i, disk] of (spec.disks ?? []).entries()) {
    const before = old?.disks?.find(({ name }) => name === disk.name);
    if (!before) continue;
    if (shrinks(disk.size, before.size))
      causes.push(bad(`spec.disks[${i}].size`, disk.size, `a disk cannot shrink; it has ${before.size}`));
    if (begun && disk.image !== before.image)
      causes.push(
        bad(
          `spec.disks[${i}].image`,
          disk.image,
          "the disk was made from what stood here; give another one another name",
        ),
      );
  }
  return causes;
}

/** What a machine's disks hold at most, in bytes; undefined when its spec does not say. */
export function storageOf({ diskSize, disks = [] }: Spec): number | undefined {
  const sizes = [diskSize, ...disks.map(({ size }) => size)];
  return sizes.every((size) => size !== undefined)
    ? sizes.reduce<number>((sum, size) => sum + parseBytes(size), 0)
    : undefined;
}

/** The images that a machine's disks begin as. */
export const imagesOf = ({ image, disks = [] }: Pick<Spec, "image" | "disks">): string[] => [
  ...new Set([image, ...disks.flatMap((disk) => disk.image ?? [])]),
];
