/**
 * PowerPolicy: which hosts are switched off while they are not needed, and on again before they are. It is a kind of its own because it is about hosts, which have no
 * namespace, and many of them at once; Policies are about machines. What it wants of a host is status.power.automatic of the Host: spec.power stays the
 * user's, and goes before it.
 */
import { Type } from "typebox";
import { AS_ONE, Conditions, defineKind, Name, type ObjectOf, Words } from "../../resource/kind.ts";
import { Selector } from "../../resource/selector-schema.ts";

export const PowerPolicy = defineKind({
  kind: "PowerPolicy",
  plural: "powerpolicies",
  namespaced: false,
  description:
    "PowerPolicy has hosts switched off while they are empty and not needed, and on again when they are. Of several that choose a host the first by name has the say.",
  spec: Type.Object({
    selector: Selector("Chooses hosts by their labels; empty chooses all."),
    automation: Words(["off", "advise", "act"], {
      default: "advise",
      description:
        "off: nothing is looked at. advise: status.advised and events tell what would be done. act: it is done. What act has switched off is switched on again under the other two.",
    }),
    spareHosts: Type.Integer({
      default: 1,
      minimum: 0,
      maximum: 4,
      description:
        "So many of the hosts that are on may be lost at any time, and all their machines find room on the others; proven by placing them. At least so many are on, and one in any case.",
    }),
    minOnMinutes: Type.Integer({
      default: 60,
      minimum: 0,
      maximum: 10080,
      description: "A host that came on stays on so long at least.",
    }),
    minOffMinutes: Type.Integer({
      default: 30,
      minimum: 0,
      maximum: 10080,
      description:
        "A host that was switched off stays off so long, unless a machine has no place or spareHosts is not kept without it.",
    }),
    bootSeconds: Type.Integer({
      default: 600,
      minimum: 10,
      maximum: 7200,
      description:
        "What a host is expected to take from switched on to its agent's first word, until that was measured (status.power.boots of the Host).",
    }),
  }),
  // Owner: the director.
  status: Type.Object({
    hosts: Type.Optional(Type.Integer({ description: "How many hosts it has the say over." })),
    on: Type.Optional(Type.Integer({ description: "Of these, are on and take machines." })),
    off: Type.Optional(Type.Integer({ description: "Of these, are off because of it." })),
    advised: Type.Optional(
      Type.Array(
        Type.Object({ host: Name("The host."), power: Words(["On", "Off"]), reason: Type.String() }),
        { description: "Under advise: what would be done." },
      ),
    ),
    demand: Type.Optional(
      Type.Object(
        {
          cpus: Type.Array(Type.Integer(), { description: "Given out at most; -1: not seen yet." }),
          memoryMiB: Type.Array(Type.Integer(), { description: "Likewise." }),
          hour: Type.Integer({ description: "The hour that ended last, hours since 1970." }),
          timeZone: Type.Optional(
            Type.String({
              description: "Whose hours these are: of the Site of most of its hosts; UTC when absent.",
            }),
          ),
          errorPercent: Type.Optional(
            Type.Number({ description: "By how much forecasts of memory, one hour ahead, were off." }),
          ),
        },
        {
          ...AS_ONE,
          description:
            "The shape of the week by the hour, from Thursday, 0:00 on: what machines had of the hosts that it has the say over. Hosts are on before it comes again.",
        },
      ),
    ),
    controlPlane: Type.Optional(
      Name("The host that the control plane which leads runs on: it stays on, whoever chooses it."),
    ),
    observedGeneration: Type.Optional(Type.Integer()),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Automation", type: "string", jsonPath: ".spec.automation" },
    { name: "Hosts", type: "integer", jsonPath: ".status.hosts" },
    { name: "On", type: "integer", jsonPath: ".status.on" },
    { name: "Off", type: "integer", jsonPath: ".status.off" },
    { name: "SpareKept", type: "string", jsonPath: ".status.conditions[?(@.type=='SpareKept')].status" },
  ],
});
export type PowerPolicy = ObjectOf<typeof PowerPolicy>;

/** Condition: whether spareHosts is kept. */
export const SPARE_KEPT = "SpareKept";
