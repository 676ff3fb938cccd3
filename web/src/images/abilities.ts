/** What the server can do with a distribution, by the conditions of its Distribution; what is not known yet counts as possible. Pure. */
import { desktopOf, MODES, withoutDesktop } from "../../../src/images/releases/release.ts";
import { findRelease } from "../../../src/images/releases/releases.ts";
import { type Ability, BUILDABLE } from "../../../src/images/shared.ts";
import { conditionOf } from "../data/derive.ts";
import type { Distribution } from "../data/kinds.ts";
import type { Draft } from "./draft.ts";

/** In words of the server, as a sentence. */
export function lackOf(distribution: Distribution, ability: Ability): string | undefined {
  const found = conditionOf(distribution, ability);
  return found?.status === "False"
    ? `${found.message.charAt(0).toUpperCase()}${found.message.slice(1)}.`
    : undefined;
}

export const whyNotMode = (distribution: Distribution, mode: Draft["mode"]): string | undefined =>
  lackOf(distribution, BUILDABLE[mode]);

/** Why there are no images of it at all: what is missing for the modes that it has. */
export function whyNotBuildable(distribution: Distribution): string | undefined {
  const { modes = [] } = distribution.status ?? {};
  const reasons = MODES.filter((mode) => modes.length === 0 || modes.includes(mode)).map((mode) =>
    whyNotMode(distribution, mode),
  );
  return reasons.includes(undefined) ? undefined : reasons[0];
}

/** "full", "slim or full". */
export const modesOf = ({ status }: Distribution): string => (status?.modes ?? []).join(" or ");

export const titleOf = ({ metadata, status }: Distribution): string => status?.title ?? metadata.name;

/** The draft with another distribution: in a mode that it has, without what is only the other one's. */
export function ofDistribution(draft: Draft, distribution: Distribution): Draft {
  const { repositories: _, ...rest } = draft.rest;
  const mode =
    [draft.mode, ...MODES].find((each) => whyNotMode(distribution, each) === undefined) ?? draft.mode;
  const other = inMode({ ...draft, ...distribution.spec, mirrorUri: "", mirrorKey: "", rest }, mode);
  return whyNotProfile(other, other.profile) ? { ...other, profile: "server" } : other;
}

/** Why it has no such set of packages. */
export function whyNotProfile(draft: Draft, profile: Draft["profile"]): string | undefined {
  const [release, desktop] = [findRelease(draft), desktopOf(profile)];
  return release && desktop && !release.profiles[desktop] ? withoutDesktop(release, desktop) : undefined;
}

/** Full images are neither held in memory nor minimized, and they alone have profiles. */
export const inMode = (draft: Draft, mode: Draft["mode"]): Draft => ({
  ...draft,
  mode,
  ...(mode === "full"
    ? { minimize: false, ...(draft.root === "ram" ? { root: "ext4" as const } : {}) }
    : { profile: "minimal" as const }),
});
