/** The kind Migration; how one goes is told in ../kinds.ts, at the chain of custody. */
import { Type } from "typebox";
import { Conditions, defineKind, immutable, Name, type ObjectOf, rules, Words } from "../../resource/kind.ts";

/** Label on the target Instance of a live migration: the name of its Migration. */
export const MIGRATION_LABEL = "vireo.dev/migration";

/** Nothing else may reach QEMU, for which exec:, fd: and unix: are addresses, too. */
export const MIGRATION_ADDRESS = /^tcp:(\[[0-9a-fA-F:]+\]|\d{1,3}(\.\d{1,3}){3}):(\d{1,5})$/;
export const MigrationAddress = Type.String({
  pattern: MIGRATION_ADDRESS.source,
  description: "Where the target listens: tcp:IP:PORT.",
});

const ONLY_CANCEL = "field is immutable; only cancel may change; create another Migration";

export const Migration = defineKind({
  kind: "Migration",
  plural: "migrations",
  shortNames: ["mig"],
  namespaced: true,
  description: "Migration moves a running VirtualMachine to another host without stopping it.",
  spec: Type.Object(
    {
      vm: Name("The VirtualMachine to move."),
      to: Name("The host to move it to."),
      reason: Type.Optional(Type.String({ description: "Why; kept as the VM's placement reason." })),
      policy: Type.Optional(Type.String()),
      plan: Type.Optional(Type.String({ description: "The Plan that asked for it." })),
      cancel: Type.Optional(
        Type.Boolean({ description: "Set to true to call it off; no effect after the switchover." }),
      ),
    },
    rules(
      ...["vm", "to"].map((field) => immutable(field, ONLY_CANCEL)),
      ...["reason", "policy", "plan"].map((field) => immutable(field, ONLY_CANCEL, true)),
      {
        rule: "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
        message: "it was called off; create another Migration",
        fieldPath: ".cancel",
        reason: "FieldValueForbidden",
      },
    ),
  ),
  // Owner of status: the Migration reconciler.
  status: Type.Object({
    phase: Type.Optional(Words(["Pending", "Preparing", "Running", "Succeeded", "Failed", "Cancelled"])),
    source: Type.Optional(Type.String({ description: "Source instance." })),
    target: Type.Optional(Type.String({ description: "Target instance." })),
    from: Type.Optional(Type.String({ description: "Source host." })),
    startedTime: Type.Optional(Type.String()),
    finishedTime: Type.Optional(Type.String()),
    downtimeMs: Type.Optional(Type.Integer()),
    message: Type.Optional(Type.String()),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "VM", type: "string", jsonPath: ".spec.vm" },
    { name: "From", type: "string", jsonPath: ".status.from" },
    { name: "To", type: "string", jsonPath: ".spec.to" },
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Message", type: "string", jsonPath: ".status.message", priority: 1 },
  ],
  selectableFields: ["spec.vm", "spec.to", "spec.plan", "status.phase"],
});
export type Migration = ObjectOf<typeof Migration>;
