/** A kind in two versions, for tests: v1alpha1 has `ram` in MiB where v1 has `memory` with a unit. */
import { Type } from "typebox";
import { defineKind, type Kind, register } from "../../resource/kind.ts";
import type { Resource } from "../../resource/object.ts";

const renamed = (object: Resource, from: string, to: string, turn: (value: unknown) => unknown): Resource => {
  const { [from]: value, ...rest } = Object(object.spec);
  if (object.spec === undefined) return object;
  return { ...object, spec: { ...rest, ...(value === undefined ? {} : { [to]: turn(value) }) } };
};

const V1 = Type.Object({
  spec: Type.Object({
    memory: Type.String({ pattern: "^\\d+Mi$" }),
    mode: Type.String({ default: "a" }),
  }),
  status: Type.Optional(Type.Object({ phase: Type.Optional(Type.String()) })),
});
const V1ALPHA1 = Type.Object({
  spec: Type.Object({
    ram: Type.Integer({ minimum: 1, description: "Memory in MiB." }),
    mode: Type.String({ default: "a" }),
  }),
  status: Type.Optional(Type.Object({ phase: Type.Optional(Type.String()) })),
});
const toMemory = (object: Resource) => renamed(object, "ram", "memory", (ram) => `${ram}Mi`);
const toRam = (object: Resource) =>
  renamed(object, "memory", "ram", (memory) => Number.parseInt(String(memory), 10));

const base = register(
  defineKind({
    kind: "Box",
    plural: "boxes",
    namespaced: true,
    description: "A box, for these tests.",
    spec: V1.properties.spec,
    status: V1.properties.status,
    columns: [{ name: "Memory", type: "string", jsonPath: ".spec.memory" }],
    selectableFields: ["status.phase"],
  }),
);

/** Stored in v1. */
export const Box: Kind = {
  ...base,
  versions: [
    {
      version: "v1alpha1",
      schema: V1ALPHA1,
      columns: [{ name: "RAM", type: "integer", jsonPath: ".spec.ram" }],
      toStored: toMemory,
      fromStored: toRam,
      deprecated: "is deprecated; use v1",
    },
  ],
};

/** As it was in the release before: v1 is served already, and what is stored is v1alpha1. */
export const BoxBefore: Kind = {
  ...base,
  version: "v1alpha1",
  schema: V1ALPHA1,
  versions: [{ version: "v1", schema: V1, toStored: toRam, fromStored: toMemory }],
};
