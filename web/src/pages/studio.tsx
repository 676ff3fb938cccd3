/** The JeOS studio: packages are picked, what comes along and what it weighs is told at once, and an image is built of them. */
import { type FormEvent, useState } from "react";
import { nameOfNow } from "../../../src/resource/name-of-now.ts";
import { Action } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { Ready } from "../../ui/states.tsx";
import { create } from "../data/actions.ts";
import { isApiError, messageOf } from "../data/api.ts";
import type { Distribution } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { Chosen } from "../images/chosen.tsx";
import { type Draft, draftOf, EMPTY, isOfProfile, PROFILES, recipeOf } from "../images/draft.ts";
import { useClosure } from "../images/picker.ts";
import { Search } from "../images/search.tsx";
import { navigate, useParam } from "../router.tsx";

export default function Studio() {
  const distributions = useLive("distributions");
  const images = useLive("images");
  const [from] = useParam("from");
  const image = images.items.get(from);
  const begin = image?.spec.recipe ? draftOf(from, image.spec.recipe) : EMPTY;
  const { distribution, release } = recipeOf(begin);
  return (
    <Ready of={[distributions, images]} what="what images are built of">
      {() => (
        <Form
          key={from}
          distribution={distributions.list.find(
            ({ spec }) => spec.distribution === distribution && spec.release === release,
          )}
          names={new Set(images.items.keys())}
          begin={begin}
        />
      )}
    </Ready>
  );
}

function Form({
  distribution,
  names,
  begin,
}: {
  distribution: Distribution | undefined;
  names: ReadonlySet<string>;
  begin: Draft;
}) {
  const [draft, setDraft] = useState(begin);
  const [sent, setSent] = useState<{ busy: boolean; error?: unknown }>({ busy: false });
  const can = useRights(undefined);
  const name = distribution?.metadata.name ?? "";
  const closure = useClosure(name, draft.packages, draft.mode);
  const set = (change: Partial<Draft>) => setDraft((before) => ({ ...before, ...change }));
  const add = (one: string) => {
    if (!draft.packages.includes(one)) set({ packages: [...draft.packages, one] });
  };
  const take = (one: string) => set({ packages: draft.packages.filter((other) => other !== one) });
  const data = closure.data;
  const isWrong = data !== undefined && data.unknown.length + data.conflicts.length > 0;
  const whyNot =
    can("create", "imagebuilds") ??
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
      await create("imagebuilds", "ImageBuild", {
        metadata: { name: nameOfNow(draft.name) },
        spec: { image: draft.name, recipe: recipeOf(draft) },
      });
      navigate(`/images/${draft.name}`);
    } catch (error) {
      setSent({ busy: false, error });
    }
  };
  return (
    <form onSubmit={build}>
      <div className="page-head">
        <h1>{begin === EMPTY ? "New image" : `New build of ${begin.name}`}</h1>
        <span className="muted">
          {distribution ? `${distribution.spec.distribution} ${distribution.spec.release}` : ""}
        </span>
      </div>
      <div className="studio">
        <Search distribution={name} chosen={draft.packages} add={add} take={take} />
        <div className="stack">
          <section className="panel">
            <h2>Image</h2>
            <div className="body stack">
              <Field
                id="image-name"
                label="Name"
                hint={
                  names.has(draft.name)
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
              <Profiles draft={draft} set={set} formats={distribution?.status?.formats ?? []} />
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

function Profiles({
  draft,
  set,
  formats,
}: {
  draft: Draft;
  set: (change: Partial<Draft>) => void;
  formats: readonly string[];
}) {
  const choice = <K extends "mode" | "boot" | "root" | "kernel">(
    key: K,
    label: string,
    options: readonly [Draft[K], string][],
  ) => (
    <Field id={`image-${key}`} label={label}>
      <select
        id={`image-${key}`}
        value={draft[key]}
        onChange={({ target }) => {
          const found = options.find(([value]) => value === target.value);
          if (found) set({ [key]: found[0] });
        }}
      >
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </Field>
  );
  return (
    <>
      <fieldset className="choices">
        <legend>Profile</legend>
        {PROFILES.map((profile) => (
          <label key={profile.name}>
            <input
              type="radio"
              name="profile"
              checked={isOfProfile(profile, draft)}
              onChange={() => set(profile.sets)}
            />
            <span>
              {profile.name}
              <span className="hint">{profile.about}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <details>
        <summary>System, boot, kernel, services</summary>
        <div className="stack">
          {choice("mode", "System", [
            ["slim", "slim: busybox, no maintainer scripts"],
            ["full", "full: dpkg, apt, systemd"],
          ])}
          {choice("boot", "Boot", [
            ["direct", "with its kernel directly"],
            ["bios", "by BIOS"],
            ["uefi", "by UEFI"],
            ["both", "by BIOS and UEFI"],
          ])}
          {choice("root", "Root file system", [
            ["ext4", "on the disk"],
            ["ram", "in memory"],
          ])}
          {choice("kernel", "Kernel", [
            ["cloud", "small, for virtual machines"],
            ["generic", "for all hardware"],
          ])}
          <label className="row">
            <input
              type="checkbox"
              checked={draft.guestAgent}
              onChange={({ target }) => set({ guestAgent: target.checked })}
            />
            QEMU's guest agent
          </label>
          <Field
            id="image-services"
            label="Services"
            hint="One a line: web=/usr/sbin/nginx -g 'daemon off;'. They are kept running. In a full system the name of a unit will do."
          >
            <textarea
              id="image-services"
              rows={3}
              spellCheck={false}
              value={draft.services}
              onChange={({ target }) => set({ services: target.value })}
            />
          </Field>
        </div>
      </details>
      <fieldset className="formats">
        <legend>Formats to download, beside the disk of machines here</legend>
        {formats.map((format) => (
          <label key={format} className="row">
            <input
              type="checkbox"
              checked={draft.formats.includes(format)}
              onChange={({ target }) =>
                set({
                  formats: target.checked
                    ? [...draft.formats, format]
                    : draft.formats.filter((other) => other !== format),
                })
              }
            />
            {format}
          </label>
        ))}
      </fieldset>
    </>
  );
}
