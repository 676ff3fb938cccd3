/** What an image is built of: a release of a distribution, of those that the server can build, with the reason where it cannot; and where its packages come from. */
import { Field } from "../../ui/field.tsx";
import type { Distribution } from "../data/kinds.ts";
import { lackOf, modesOf, ofDistribution, titleOf, whyNotBuildable } from "./abilities.ts";
import type { Draft } from "./draft.ts";

const byTitle = (a: Distribution, b: Distribution) =>
  titleOf(a).localeCompare(titleOf(b), "en", { numeric: true });

export function System({
  draft,
  setDraft,
  distributions,
  chosen,
  hadRepositories,
}: {
  draft: Draft;
  setDraft: (change: (draft: Draft) => Draft) => void;
  distributions: readonly Distribution[];
  /** The draft's. */
  chosen: Distribution | undefined;
  /** The recipe that the draft began with has some. */
  hadRepositories: boolean;
}) {
  const noKeys = chosen && lackOf(chosen, "KeysAvailable");
  return (
    <details>
      <summary>Built of {chosen ? titleOf(chosen) : `${draft.distribution} ${draft.release}`}</summary>
      <div className="stack">
        <fieldset className="choices side-by-side">
          <legend className="unseen">Distribution</legend>
          {[...distributions].sort(byTitle).map((each) => {
            const why = whyNotBuildable(each);
            return (
              <label key={each.metadata.name} className={why ? "off" : undefined}>
                <input
                  type="radio"
                  name="distribution"
                  checked={each === chosen}
                  disabled={why !== undefined}
                  onChange={() => setDraft((before) => ofDistribution(before, each))}
                />
                <span>
                  {titleOf(each)} <span className="muted small">{modesOf(each)}</span>
                  {why && <span className="hint">{why}</span>}
                </span>
              </label>
            );
          })}
        </fieldset>
        {hadRepositories && !draft.rest.repositories && (
          <p className="note warn">The recipe's repositories are of another distribution and are left out.</p>
        )}
        <Field
          id="image-mirror"
          label="Mirror"
          hint="Where its packages are fetched from; its own mirrors without it."
        >
          <input
            id="image-mirror"
            inputMode="url"
            placeholder="https://…"
            spellCheck={false}
            value={draft.mirrorUri}
            onChange={({ target }) => setDraft((before) => ({ ...before, mirrorUri: target.value }))}
          />
        </Field>
        <Field
          id="image-keys"
          label="Keys that its packages are signed with"
          hint={
            noKeys ? undefined : "OpenPGP, in ASCII armor; those of the control plane's machine without them."
          }
          wrong={noKeys && draft.mirrorKey.trim() === "" ? noKeys : undefined}
        >
          <textarea
            id="image-keys"
            className="mono"
            rows={3}
            spellCheck={false}
            placeholder="-----BEGIN PGP PUBLIC KEY BLOCK-----"
            value={draft.mirrorKey}
            onChange={({ target }) => setDraft((before) => ({ ...before, mirrorKey: target.value }))}
          />
        </Field>
      </div>
    </details>
  );
}
