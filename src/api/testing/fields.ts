/** A schema with every way in which values are divided, for tests of field ownership. */
import { parse } from "yaml";
import type { Schema } from "../../resource/schema.ts";
import type { View } from "../fields/managers.ts";

const text: Schema = { type: "string" };
const number: Schema = { type: "number" };
const strings: Schema = { type: "array", items: text, "x-kubernetes-list-type": "set" };
const byName = (properties: Record<string, Schema>): Schema => ({
  type: "array",
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": ["name"],
  items: { type: "object", properties: { name: text, ...properties } },
});
export const SCHEMA: Schema = {
  properties: {
    numeric: number,
    string: text,
    bool: { type: "boolean" },
    setStr: strings,
    setNumeric: { ...strings, items: number },
    list: byName({ value: number }),
    listOfLists: byName({ value: strings }),
    struct: {
      type: "object",
      properties: { name: text, scalar: text, complex: { type: "object", properties: { name: text } } },
    },
    mapOfMaps: {
      type: "object",
      additionalProperties: { type: "object", additionalProperties: text },
    },
    color: {
      type: "object",
      "x-kubernetes-map-type": "atomic",
      properties: { r: number, g: number },
    },
    args: { type: "array", items: text },
    pair: {
      type: "array",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["key", "id"],
      items: {
        type: "object",
        properties: {
          key: text,
          id: { ...number, default: 1 },
          value: { type: "object", additionalProperties: text },
        },
      },
    },
    free: { "x-kubernetes-preserve-unknown-fields": true },
  },
};
export const yaml = (source: string): View => Object(parse(source));
