/** Lease and Event: what reconcilers and agents need of their own. */
import { Type } from "typebox";
import { type Cause, invalidValue } from "../resource/errors.ts";
import { defineKind, Name, type ObjectOf, Words } from "../resource/kind.ts";

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

/**
 * A lease: `holder` owns it until renewTime + durationSeconds. Three uses: leadership of a control plane
 * (`control-plane`), that one runs on a machine (`control-plane-BOOTID`), and the heartbeat of a host (`host-NAME`, renewed by its agent). Whoever judges a lease by its
 * own clock measures from the moment it saw renewTime change, so that clocks of hosts need not agree.
 */
export const Lease = defineKind({
  kind: "Lease",
  plural: "leases",
  namespaced: false,
  description: "Lease is held by one holder until it runs out.",
  spec: Type.Object({
    holder: Type.String({ description: "Who holds the lease; empty when it was given up." }),
    durationSeconds: Type.Integer({
      minimum: 1,
      maximum: 3600,
      description: "How long it is held after renewTime.",
    }),
    renewTime: Type.String({ description: "RFC 3339 time of the last renewal, with milliseconds." }),
    transitions: Type.Optional(Type.Integer({ minimum: 0, description: "How often the holder changed." })),
  }),
  columns: [
    { name: "Holder", type: "string", jsonPath: ".spec.holder" },
    { name: "Renewed", type: "date", jsonPath: ".spec.renewTime" },
  ],
});
export type Lease = ObjectOf<typeof Lease>;

/** Why something happened, kept for people. Same event again: count and lastTime rise. Old ones are deleted after an hour. */
export const Event = defineKind({
  kind: "Event",
  plural: "events",
  namespaced: true,
  description: "Event is a report of something that happened to an object.",
  spec: Type.Object({
    about: Type.Object(
      {
        kind: Type.String(),
        name: Type.String(),
        namespace: Type.Optional(Type.String()),
        uid: Type.Optional(Type.String()),
      },
      { description: "The object the event is about." },
    ),
    type: Words(["Normal", "Warning"], { description: "Warning when somebody may have to act." }),
    reason: Type.String({ description: "One CamelCase word for programs." }),
    message: Type.String({ description: "What happened, for people." }),
    reporter: Type.String({ description: "Which component reports it." }),
    host: Type.Optional(Name("The host it happened on.")),
    firstTime: Type.String({ format: "date-time" }),
    lastTime: Type.String({ format: "date-time", description: "It is deleted an hour after this." }),
    count: Type.Integer({ minimum: 1 }),
  }),
  columns: [
    { name: "Last", type: "date", jsonPath: ".spec.lastTime" },
    { name: "Type", type: "string", jsonPath: ".spec.type" },
    { name: "Reason", type: "string", jsonPath: ".spec.reason" },
    { name: "Kind", type: "string", jsonPath: ".spec.about.kind" },
    { name: "Name", type: "string", jsonPath: ".spec.about.name" },
    { name: "Message", type: "string", jsonPath: ".spec.message" },
  ],
  selectableFields: [
    "spec.about.kind",
    "spec.about.name",
    "spec.about.namespace",
    "spec.about.uid",
    "spec.type",
    "spec.reason",
  ],
});
export type Event = ObjectOf<typeof Event>;

/** Not in the schema: events are stored that older versions let in. */
export function checkEvent({ spec }: Event): Cause[] {
  return (["firstTime", "lastTime"] as const)
    .filter((field) => !(RFC_3339.test(spec[field]) && Date.parse(spec[field]) > 0))
    .map((field) =>
      invalidValue(
        `spec.${field}`,
        spec[field],
        "must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z",
      ),
    );
}
