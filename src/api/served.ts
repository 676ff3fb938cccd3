import type { Kind } from "../resource/kind.ts";

/** A kind with what can be done to it. */
export interface Served {
  kind: Kind;
  verbs: readonly string[];
}

export const ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
export const READ_VERBS = ["get", "list", "watch"];

/** Server-side apply: the body is YAML or, as kubectl sends it, JSON. */
export const APPLY_TYPE = "application/apply-patch+yaml";
/** Strategic merge patch is not among them: it needs Go types, and kubectl does without when it is not listed. */
export const PATCH_TYPES = ["application/json-patch+json", "application/merge-patch+json", APPLY_TYPE];

/** "vireo.dev/v1", or "v1" of the core group. */
export const groupVersion = (kind: Pick<Kind, "group" | "version">) =>
  kind.group ? `${kind.group}/${kind.version}` : kind.version;
