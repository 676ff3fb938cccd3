import type { Kind } from "../resource/kind.ts";
import type { Subresource } from "./subresource.ts";

/** A kind with what can be done to it. */
export interface Served {
  kind: Kind;
  verbs: readonly string[];
  /** Besides status and scale. */
  subresources?: readonly Subresource[];
}

export const ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
export const READ_VERBS = ["get", "list", "watch"];

/** Server-side apply: the body is YAML or, as kubectl sends it, JSON. */
export const APPLY_TYPE = "application/apply-patch+yaml";
export const STRATEGIC = "application/strategic-merge-patch+json";
const PATCHES = ["application/json-patch+json", "application/merge-patch+json", APPLY_TYPE];

/**
 * The forms of patch that a kind takes. Strategic merge patch is for kinds of the core group alone: kubectl has Go types of those and sends
 * nothing else; where it is not listed it does without.
 */
export const patchTypes = ({ group }: Pick<Kind, "group">): readonly string[] =>
  group === "" ? [...PATCHES, STRATEGIC] : PATCHES;

/**
 * The kinds, each with the subresources that rooms bring for it.
 * @throws Error when two rooms bring the same, or one brings one of no kind that is served: a mistake of ours
 */
export function withSubresources(kinds: readonly Kind[], all: readonly Subresource[]): Served[] {
  const pathOf = ({ of, name }: Subresource) => `${of.plural}.${of.group}/${name}`;
  const isOf = (kind: Kind) => (one: Subresource) =>
    one.of.group === kind.group && one.of.plural === kind.plural;
  const wrong = all.find(
    (one, i) =>
      !kinds.some((kind) => isOf(kind)(one)) ||
      all.some((other, j) => j < i && pathOf(other) === pathOf(one)),
  );
  if (wrong) throw new Error(`${pathOf(wrong)} is brought twice, or there is no such kind`);
  return kinds.map((kind) => ({ kind, verbs: ALL_VERBS, subresources: all.filter(isOf(kind)) }));
}

/** "vireo.dev/v1", or "v1" of the core group. */
export const groupVersion = (kind: Pick<Kind, "group" | "version">) =>
  kind.group ? `${kind.group}/${kind.version}` : kind.version;
