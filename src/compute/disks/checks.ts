/** What a machine's spec says of its disks: whether that can be, how much they hold, and what they begin as. Pure. */
import { type Cause, invalidValue } from "../../resource/errors.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { VirtualMachine } from "../kinds.ts";
import type { KnownDisk } from "./kinds.ts";

type Spec = VirtualMachine["spec"];

/** What of a machine's disks may not be so. `begun`: it has run, so they are there. `kept`: of disks that may be named again. */
export function checkDisks(
  spec: Spec,
  old: Spec | undefined,
  begun: boolean,
  kept: readonly KnownDisk[] = [],
): Cause[] {
  const causes: Cause[] = [];
  const shrinks = (now: string | undefined, before: string | undefined) =>
    before !== undefined && (now === undefined || parseBytes(now) < parseBytes(before));
  for (const [field, limits] of [
    ["spec.diskLimits", spec.diskLimits] as const,
    ...(spec.disks ?? []).map((disk, i) => [`spec.disks[${i}].limits`, disk.limits] as const),
  ]) {
    const burst = limits?.burst?.bytesPerSecond;
    if (burst && limits.bytesPerSecond && parseBytes(burst) < parseBytes(limits.bytesPerSecond))
      causes.push(invalidValue(`${field}.burst.bytesPerSecond`, burst, "has to be at least bytesPerSecond"));
  }
  if (old && shrinks(spec.diskSize, old.diskSize))
    causes.push(invalidValue("spec.diskSize", spec.diskSize, `a disk cannot shrink; it has ${old.diskSize}`));
  for (const [i, disk] of (spec.disks ?? []).entries()) {
    const before =
      old?.disks?.find(({ name }) => name === disk.name) ?? kept.find(({ name }) => name === disk.name);
    if (!before) continue;
    if (shrinks(disk.size, before.size))
      causes.push(
        invalidValue(`spec.disks[${i}].size`, disk.size, `a disk cannot shrink; it has ${before.size}`),
      );
    if (begun && "image" in before && disk.image !== before.image)
      causes.push(
        invalidValue(
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

/** The images that a machine's disks begin as, and those that are in its CD drives. */
export const imagesOf = ({
  image,
  disks = [],
  cdDrives = [],
}: Pick<Spec, "image" | "disks" | "cdDrives">): string[] => [
  ...new Set([image, ...[...disks, ...cdDrives].flatMap((each) => each.image ?? [])]),
];
