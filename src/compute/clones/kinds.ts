/**
 * Clones: machines whose disks begin as those of another machine. No kind of their own: a clone is a VirtualMachine with spec.source, and stays
 * one for life.
 *
 *   spec.source ─► clone reconciler: a Snapshot that is a template (made for it when the source is a machine) ─► status.source.ready
 *     ─► VM reconciler creates the first Instance with spec.source ─► its agent makes the disks (src/agent/disks/clones.ts)
 *
 * A template is a Snapshot whose layers are lent: from then on nothing is ever merged into them or into what is below them, so that other
 * QEMUs may have them open for reading (src/agent/disks/layers.ts). It, and the machine that it is of, cannot be deleted while a clone needs them
 * (in-use.ts); one that was made for a clone goes when the last clone that needs it is gone.
 *
 *   Linked:  an overlay of the lent layers; boots.
 *   Full:    a copy of what they hold; boots, and needs nothing of its source once it has been copied.
 *   Instant: as Linked, and goes on with the memory of the template instead of booting. Its guest is given a new identity before it is let onto
 *            its networks (src/agent/runs/identity.ts). What cannot be becomes Linked, and says why.
 */
import { type Static, Type } from "typebox";
import { Name, rules, Words } from "../../resource/kind.ts";

/** On a Snapshot: the clone that it was made for, and that it goes with. */
export const CLONE_LABEL = "vireo.dev/clone";

const Mode = {
  Linked: "Linked",
  Full: "Full",
  Instant: "Instant",
} as const;
const MODES = [Mode.Linked, Mode.Full, Mode.Instant] as const;

/** VirtualMachine.spec.source */
export const Source = Type.Object(
  {
    vm: Type.Optional(Name("A VirtualMachine of this namespace: as it is when the clone is made.")),
    snapshot: Type.Optional(Name("A Snapshot of this namespace; it becomes a template.")),
    mode: Words(MODES, {
      default: "Linked",
      description:
        "Linked: holds only what differs from its source, which cannot be deleted meanwhile. Full: a copy of its own. Instant: as Linked, and goes on with the memory of the source instead of booting, with an identity of its own; where that cannot be it is Linked, and says why.",
    }),
  },
  {
    ...rules(
      {
        rule: "!(has(self.vm) && has(self.snapshot))",
        message: "may not be given together with vm; choose one of them",
        fieldPath: ".snapshot",
        reason: "FieldValueForbidden",
      },
      {
        rule: "has(self.vm) || has(self.snapshot) || self.mode == 'Full'",
        message:
          "without vm and snapshot the source is the image: its machines are linked already, and it has no memory; say Full",
        fieldPath: ".mode",
        reason: "FieldValueInvalid",
      },
    ),
    description: "What its disks are made from; the image (spec.image), linked, when absent.",
  },
);

const Uid = (description: string) => Type.String({ description, pattern: "^[0-9a-f-]{36}$" });

/** What a clone is made from; absent for a copy of the image. */
const Template = {
  vm: Type.Optional(Type.String({ description: "The machine it is a clone of." })),
  vmUid: Type.Optional(Uid("Its uid.")),
  snapshotUid: Type.Optional(Uid("The template's uid.")),
  storagePool: Type.Optional(Type.String({ description: "Where its disks are." })),
  macs: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "Of its network cards: what the guest of an Instant one begins with, in the order of spec.networks.",
    }),
  ),
};

/** Condition of an instant clone: whether it went on with the memory of its source. Owner: the agent. */
export const CLONED = "Cloned";
/** Its reason when it did not, and boots from linked disks. */
export const NOT_INSTANT = "Linked";

/** VirtualMachine.status.source. Owner: the clone reconciler. */
export const SourceStatus = Type.Object(
  {
    mode: Words(MODES, { description: "What it is, or becomes." }),
    ...Template,
    snapshot: Type.Optional(Type.String({ description: "The template." })),
    ready: Type.Boolean({ description: "Whether all is there that its disks are made from." }),
    independent: Type.Optional(
      Type.Boolean({ description: "It has been copied: nothing of its source is needed any more." }),
    ),
    message: Type.String({ description: "What it waits for; why it is not what was asked for." }),
  },
  { description: "What became of spec.source." },
);
export type SourceStatus = Static<typeof SourceStatus>;

/** Instance.spec.source, until its disks have been made. */
export const InstanceSource = Type.Object(
  { mode: Words(MODES), ...Template },
  { description: "What the disks are made from, when they are not there yet." },
);
export type InstanceSource = Static<typeof InstanceSource>;

/** What an instance is told of it. */
export function instanceSource(status: SourceStatus): InstanceSource {
  const {
    snapshot: _snapshot,
    ready: _ready,
    independent: _independent,
    message: _message,
    ...source
  } = status;
  return source;
}

/** The template that is made for a clone of a machine. */
export const templateName = (clone: string) => `${clone}-source`;
