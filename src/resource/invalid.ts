/**
 * Stored objects that do not have the shape of their kind: written by another version, or behind the API's back. The server marks
 * them when it loads them; typed clients leave them out, so no reconciler ever meets one (DESIGN, rule 9); people see the mark, and
 * a write that mends the object takes it away.
 */
import type { Resource } from "./object.ts";

/** Annotation: what is wrong with the object. Only the server sets it. */
export const INVALID = "vireo.dev/invalid";

/** What is wrong with a marked object; undefined for a sound one. */
export function invalidity({ metadata }: { metadata: Resource["metadata"] }): string | undefined {
  return metadata.annotations?.[INVALID];
}
