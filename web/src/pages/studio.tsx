/** The JeOS studio: of a distribution packages are picked, what comes along and what it weighs is told at once, and an image is built of them. */
import { type FormEvent, Suspense, useState } from "react";
import { Action } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { Loading, Ready } from "../../ui/states.tsx";
import { page } from "../caught.tsx";
import { isApiError, messageOf } from "../data/api.ts";
import type { Distribution, Image, ImageBuild } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { lackOf, titleOf, whyNotMode } from "../images/abilities.ts";
import { Archives, whyNotSent } from "../images/archives.tsx";
import { createBuild } from "../images/builds.tsx";
import { Chosen } from "../images/chosen.tsx";
import { type Draft, draftOf, EMPTY, recipeOf } from "../images/draft.ts";
import { useClosure } from "../images/picker.ts";
import { Profiles } from "../images/profiles.tsx";
import { PackagesByName, Search } from "../images/search.tsx";
import { System } from "../images/system.tsx";
import { archiveUpload, sendFile } from "../images/upload.ts";
import { navigate, useParam } from "../router.tsx";

const RecipeText = page(() => import("../images/recipe-text.tsx"));

export default function Studio() {
  const distributions = useLive("distributions");
  const images = useLive("images");
  const builds = useLive("imagebuilds");
  const [from] = useParam("from");
  const image = images.items.get(from);
  const begin = image?.spec.recipe ? draftOf(from, image.spec.recipe) : EMPTY;
  return (
    <Ready of={[distributions, images, builds]} what="what images are built of">
      {() => (
        <Form
          key={from}
          distributions={distributions.list}
          images={images.items}
          builds={builds.list}
          begin={begin}
        />
      )}
    </Ready>
  );
}

function Form({
  distributions,
  images,
  builds,
  begin,
}: {
  distributions: readonly Distribution[];
  images: ReadonlyMap<string, Image>;
  builds: readonly ImageBuild[];
  begin: Draft;
}) {
  const [draft, setDraft] = useState(begin);
  const [sent, setSent] = useState<{ busy: boolean; error?: unknown }>({ busy: false });
  const [isShown, setShown] = useState(false);
  const can = useRights(undefined);
  const distribution = distributions.find(
    ({ spec }) => spec.distribution === draft.distribution && spec.release === draft.release,
  );
  const noPicker = distribution && lackOf(distribution, "PickerAvailable");
  const name = distribution && !noPicker ? distribution.metadata.name : "";
  const closure = useClosure(name, draft.packages, draft);
  const set = (change: Partial<Draft>) => setDraft((before) => ({ ...before, ...change }));
  // Of several at once each is added to those before it.
  const add = (one: string) =>
    setDraft((before) =>
      before.packages.includes(one) ? before : { ...before, packages: [...before.packages, one] },
    );
  const take = (one: string) =>
    setDraft((before) => ({ ...before, packages: before.packages.filter((other) => other !== one) }));
  const { data } = closure;
  const noKeys = distribution && lackOf(distribution, "KeysAvailable");
  const isWrong = data !== undefined && data.unknown.length + data.conflicts.length > 0;
  const whyNot =
    can("create", "imagebuilds") ??
    (distribution && whyNotMode(distribution, draft.mode)) ??
    (noKeys && draft.mirrorKey.trim() === ""
      ? `${titleOf(distribution)}: the keys that its packages are signed with are needed.`
      : undefined) ??
    whyNotSent(draft.archives) ??
    (draft.name === ""
      ? "It has no name yet."
      : isWrong
        ? "Its packages cannot be installed so."
        : undefined);
  const build = async (event: FormEvent) => {
    event.preventDefault();
    if (whyNot) return;
    setSent({ busy: true });
    try {
      const build = await createBuild(
        builds.filter(({ spec }) => spec.image === draft.name),
        { image: draft.name, recipe: recipeOf(draft), storagePool: images.get(draft.name)?.spec.storagePool },
      );
      for (const { from, sha256 } of draft.archives)
        if (from && sha256) void sendFile(archiveUpload(build, sha256), from);
      navigate(`/images/${draft.name}`);
    } catch (error) {
      setSent({ busy: false, error });
    }
  };
  return (
    <form onSubmit={build}>
      <div className="page-head">
        <h1>{begin === EMPTY ? "New image" : `New build of ${begin.name}`}</h1>
        <span className="muted">{distribution ? titleOf(distribution) : ""}</span>
      </div>
      <div className="studio">
        {noPicker === undefined ? (
          <Search key={name} distribution={name} chosen={draft.packages} add={add} take={take} />
        ) : (
          <PackagesByName why={noPicker} add={add} />
        )}
        <div className="stack">
          <section className="panel">
            <h2>Image</h2>
            <div className="body stack">
              <Field
                id="image-name"
                label="Name"
                hint={
                  images.has(draft.name)
                    ? "There is one of this name: it gets what is built; machines of it stay as they are."
                    : undefined
                }
              >
                <input
                  id="image-name"
                  required
                  value={draft.name}
                  spellCheck={false}
                  autoComplete="off"
                  onChange={(event) => set({ name: event.target.value })}
                />
              </Field>
              <System
                draft={draft}
                setDraft={setDraft}
                distributions={distributions}
                chosen={distribution}
                hadRepositories={begin.rest.repositories !== undefined}
              />
              <Profiles draft={draft} set={set} setDraft={setDraft} distribution={distribution} />
              <details>
                <summary>
                  Files in archives{draft.archives.length > 0 ? ` (${draft.archives.length})` : ""}
                </summary>
                <Archives
                  archives={draft.archives}
                  setDraft={setDraft}
                  whyNot={can("create", "imagebuilds/upload")}
                />
              </details>
              <details onToggle={({ currentTarget }) => setShown(currentTarget.open)}>
                <summary>The recipe as YAML</summary>
                {isShown && (
                  <Suspense fallback={<Loading what="the recipe" />}>
                    <RecipeText draft={draft} />
                  </Suspense>
                )}
              </details>
              {sent.error !== undefined && <Refused error={sent.error} />}
              <div className="row">
                <Action kind="primary" whyNot={whyNot} type="submit">
                  {sent.busy ? "Asking for it…" : "Build it"}
                </Action>
                <Action onPress={() => navigate("/images")}>Cancel</Action>
              </div>
            </div>
          </section>
          <Chosen
            packages={draft.packages}
            isFull={draft.mode === "full"}
            isKnown={noPicker === undefined}
            closure={data}
            isStale={closure.isPlaceholderData}
            error={closure.error}
            add={add}
            take={take}
          />
        </div>
      </div>
    </form>
  );
}

function Refused({ error }: { error: unknown }) {
  const causes = isApiError(error) ? (error.details.causes ?? []) : [];
  return (
    <div className="note bad" role="alert">
      {causes.length === 0 ? (
        messageOf(error)
      ) : (
        <ul>
          {causes.map(({ field, message }) => (
            <li key={field + message}>
              <code>{field.replace(/^spec\.recipe\./, "")}</code> {message}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
