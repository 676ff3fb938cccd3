/**
 * Objects that kubectl has applied from its own side and now applies by the server: what its annotation says it had applied is no
 * conflict for it, and the annotation follows what it applies, so that both ways can be used on one object.
 *
 * Source: k8s.io/apimachinery managedfields, lastappliedmanager.go and lastappliedupdater.go.
 */
import type { Resource } from "../../resource/object.ts";
import type { Schema } from "../../resource/schema.ts";
import type { View } from "./managers.ts";
import { difference, type FieldSet } from "./set.ts";
import { compare, fieldSetOf } from "./values.ts";

const ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration";
const KUBECTL = "kubectl";

/** The fields that kubectl applied from its side and that are still as it left them. */
export function allowedByLastApplied(
  live: Resource,
  manager: string,
  schema: Schema,
  viewOf: (object: Resource) => View,
): FieldSet | undefined {
  const text = manager === KUBECTL ? live.metadata.annotations?.[ANNOTATION] : undefined;
  if (text === undefined) return undefined;
  try {
    const config: unknown = JSON.parse(text);
    if (!isResource(config)) return undefined;
    const then = viewOf(config);
    const { changed, removed } = compare(then, viewOf(live), schema);
    const own = difference(difference(fieldSetOf(then, schema), changed), removed);
    return own;
  } catch {
    // Written by anybody: when it is not what kubectl writes, it allows nothing.
    return undefined;
  }
}

function isResource(value: unknown): value is Resource {
  return (
    typeof value === "object" &&
    value !== null &&
    "metadata" in value &&
    typeof value.metadata === "object" &&
    value.metadata !== null
  );
}

/** Brings the annotation up to date with what kubectl applied. Changes `object`; who owns the annotation stays. */
export function followLastApplied(object: Resource, config: Resource, manager: string): void {
  const { annotations } = object.metadata;
  if (manager !== KUBECTL || annotations?.[ANNOTATION] === undefined) return;
  if (config.metadata.annotations?.[ANNOTATION] === undefined)
    annotations[ANNOTATION] = `${JSON.stringify(config)}\n`;
}
