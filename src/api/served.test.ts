import { Type } from "typebox";
import { expect, it } from "vitest";
import { defineKind, type Kind, register, versionOf } from "../resource/kind.ts";
import { withSubresources } from "./served.ts";
import type { Subresource } from "./subresource.ts";

const spec = Type.Object({});
const kindOf = (kind: string, plural: string): Kind =>
  register(defineKind({ kind, plural, namespaced: true, description: "", spec, columns: [] }));
const [Boat, Car] = [kindOf("Boat", "boats"), kindOf("Car", "cars")];
const older = { version: "v0", schema: Type.Object({}) };
const OldBoat = versionOf(Boat, { ...older, toStored: (same) => same, fromStored: (same) => same });

const brings = (of: Kind, name: string): Subresource => ({
  of,
  name,
  methods: { GET: "get" },
  handle: async () => {},
});

it("gives each kind, in each of its versions, what all rooms bring for it", () => {
  const all = [brings(Boat, "sails"), brings(Car, "wheels"), brings(Boat, "crew")];
  const served = withSubresources([Boat, Car, OldBoat], all);
  const names = served.map(({ kind, subresources = [] }) => [
    `${kind.version} ${kind.plural}`,
    subresources.map(({ name }) => name),
  ]);
  expect(names).toEqual([
    ["v1 boats", ["sails", "crew"]],
    ["v1 cars", ["wheels"]],
    ["v0 boats", ["sails", "crew"]],
  ]);
});

it("refuses what two rooms bring, and what is of no kind that is served", () => {
  expect(() => withSubresources([Boat], [brings(Boat, "crew"), brings(Boat, "crew")])).toThrow(
    "boats.vireo.dev/crew is brought twice",
  );
  expect(() => withSubresources([Boat], [brings(Car, "wheels")])).toThrow("cars.vireo.dev/wheels");
});
