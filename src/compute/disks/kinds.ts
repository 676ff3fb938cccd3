/**
 * Data disks of a machine, beside its system disk. Each is a disk of layers as that one (src/agent/disks/layers.ts): in snapshots, rollbacks and moves.
 *
 * Data outlive the list: a disk that is taken out of spec.disks is detached and kept with the machine's disks, and whoever names it again has it
 * back. Only the machine's deletion destroys it.
 */

import { type Static, Type } from "typebox";
import { ImageReference } from "../../images/versions/kinds.ts";
import { Quantity, rules } from "../../resource/kind.ts";

const MiB = 2 ** 20;
/** What virtio has room for in a disk's serial number, by which the guest knows it. */
const MAX_NAME = 20;
/** How many there may be. */
export const MAX_DISKS = 16;

/** Where the guest finds a disk or network of a run; given by the VM reconciler. Absent: at a fixed place, which nothing can leave while it runs. */
export const Port = Type.Optional(Type.Integer({ minimum: 0, maximum: 63 }));

export const PerSecond = (what: string) =>
  Type.Optional(Quantity({ description: `${what} a second, at most.`, minimum: 65536, maximum: 2 ** 46 }));
const Count = (what: string) =>
  Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000_000, description: `${what} a second, at most.` }));

export const DiskLimits = Type.Object(
  {
    iops: Count("Requests"),
    readIops: Count("Requests that read"),
    writeIops: Count("Requests that write"),
    bytesPerSecond: PerSecond("Bytes"),
    burst: Type.Optional(
      Type.Object(
        {
          iops: Count("Requests"),
          bytesPerSecond: PerSecond("Bytes"),
          seconds: Type.Integer({
            minimum: 1,
            maximum: 3600,
            default: 1,
            description: "For how long at a time.",
          }),
        },
        { description: "More than that for a while, after a time of less." },
      ),
    ),
  },
  {
    ...rules(
      {
        rule: "!(has(self.iops) && (has(self.readIops) || has(self.writeIops)))",
        message: "limits both kinds of requests together; give either it, or readIops and writeIops",
        fieldPath: ".iops",
        reason: "FieldValueForbidden",
      },
      {
        rule: "!has(self.burst) || !has(self.burst.iops) || (has(self.iops) && self.burst.iops >= self.iops)",
        message: "needs iops, and has to be at least that",
        fieldPath: ".burst.iops",
        reason: "FieldValueInvalid",
      },
      {
        rule: "!has(self.burst) || !has(self.burst.bytesPerSecond) || has(self.bytesPerSecond)",
        message: "needs bytesPerSecond",
        fieldPath: ".burst.bytesPerSecond",
        reason: "FieldValueInvalid",
      },
    ),
    description: "How much the disk may be used. Changed while the machine runs.",
  },
);
export type DiskLimits = Static<typeof DiskLimits>;

const dataDisk = {
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
  image: Type.Optional(ImageReference("The Image that it begins as; an empty disk without.")),
  readOnly: Type.Optional(
    Type.Boolean({ description: "The guest cannot write to it; it is in no snapshot." }),
  ),
  limits: Type.Optional(DiskLimits),
};

export const DataDisk = Type.Object(
  dataDisk,
  rules({
    rule: "has(self.size) || has(self.image)",
    message: "an empty disk needs a size",
    fieldPath: ".size",
    reason: "FieldValueRequired",
  }),
);
export type DataDisk = Static<typeof DataDisk>;

/** One of a run. */
export const PlacedDisk = Type.Object({
  ...dataDisk,
  port: Port,
  exists: Type.Optional(
    Type.Boolean({ description: "It was seen before: it must be there, and is never made anew." }),
  ),
});
export type PlacedDisk = Static<typeof PlacedDisk>;

/** VirtualMachine.status.disks: all that were ever made, also those that are not in spec.disks now. */
export const KnownDisk = Type.Object({
  name: Type.String(),
  port: Port,
  made: Type.Optional(Type.Boolean({ description: "A run has had it." })),
  size: Type.Optional(Type.String({ description: "The size that it was last asked to have." })),
});
export type KnownDisk = Static<typeof KnownDisk>;
