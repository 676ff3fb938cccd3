/** The JeOS studio: packages are picked, what comes along and what it weighs is told at once, and an image is built of them. */
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { nameOfNow } from "../../../src/resource/name-of-now.ts";
import { Action, size } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { ErrorNote, Loading, Ready } from "../../ui/states.tsx";
import { create } from "../data/actions.ts";
import { isApiError, messageOf } from "../data/api.ts";
import type { Distribution } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { type Draft, draftOf, EMPTY, isOfProfile, PROFILES, recipeOf } from "../images/draft.ts";
import { type Closure, type Package, useClosure, useSearch } from "../images/picker.ts";
import { navigate, useParam } from "../router.tsx";

export default function Studio() {
  const distributions = useLive("distributions");
  const images = useLive("images");
  const [from] = useParam("from");
  const begin = images.items.get(from);
  return (
    <Ready of={[distributions, images]} what="what images are built of">
      {() => (
        <Form
          key={from}
          distribution={distributions.list[0]}
          names={new Set(images.items.keys())}
          begin={begin?.spec.recipe ? draftOf(from, begin.spec.recipe) : EMPTY}
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

const PAGE = 50;

function Search({
  distribution,
  chosen,
  add,
  take,
}: {
  distribution: string;
  chosen: readonly string[];
  add: (name: string) => void;
  take: (name: string) => void;
}) {
  const [text, setText] = useState("");
  const [section, setSection] = useState("");
  const [limit, setLimit] = useState(PAGE);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is looked for is another thing
  useEffect(() => setLimit(PAGE), [text, section]);
  const { data, error, isPending } = useSearch(distribution, text, section, limit);
  return (
    <section className="panel">
      <h2>Packages</h2>
      <div className="filters body">
        <input
          type="search"
          aria-label="Search packages"
          placeholder="Search packages: web server, nginx…"
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            // Enter adds the likeliest, and does not send the form.
            if (event.key !== "Enter") return;
            event.preventDefault();
            const [first] = data?.items ?? [];
            if (first) add(first.name);
          }}
        />
        <select aria-label="Section" value={section} onChange={(event) => setSection(event.target.value)}>
          <option value="">All sections</option>
          {data?.sections.map(({ name, packages }) => (
            <option key={name} value={name}>
              {name} ({packages})
            </option>
          ))}
        </select>
      </div>
      {error ? (
        <ErrorNote title="The package lists cannot be read" error={error} />
      ) : isPending ? (
        <Loading what="the packages" />
      ) : data?.items.length === 0 ? (
        <p className="body muted">No package is described so.</p>
      ) : (
        <>
          <ul className="lines packages">
            {data?.items.map((found) => {
              const isIn = chosen.includes(found.name);
              return (
                <li key={found.name}>
                  <Described of={found} />
                  <Action
                    onPress={() => (isIn ? take : add)(found.name)}
                    label={`${isIn ? "Take out" : "Add"} ${found.name}`}
                  >
                    {isIn ? "Take out" : "Add"}
                  </Action>
                </li>
              );
            })}
          </ul>
          {data && data.more > 0 && (
            <p className="body row">
              <span className="muted">and {data.more} more</span>
              <Action kind="quiet" onPress={() => setLimit(Math.min(500, limit + PAGE))}>
                Show more
              </Action>
            </p>
          )}
        </>
      )}
    </section>
  );
}

const Described = ({ of, children }: { of: Package; children?: ReactNode }) => (
  <span className="described">
    <span>
      <strong>{of.name}</strong> <span className="muted">{of.version}</span>{" "}
      <span className="muted nowrap">{size(of.installedBytes)}</span>
    </span>
    <span className="muted">{children ?? of.description}</span>
  </span>
);

function Chosen({
  packages,
  closure,
  isStale,
  error,
  add,
  take,
}: {
  packages: readonly string[];
  closure: Closure | undefined;
  isStale: boolean;
  error: unknown;
  add: (name: string) => void;
  take: (name: string) => void;
}) {
  const along = closure?.packages.filter(({ name }) => !packages.includes(name)) ?? [];
  return (
    <section className="panel" aria-live="polite">
      <h2>In the image</h2>
      <div className="body stack">
        {closure && (
          <div className={`figures${isStale ? " stale" : ""}`}>
            <Figure value={size(closure.installedBytes)} name="installed, and the kernel" />
            <Figure value={size(closure.downloadBytes)} name="to download" />
            <Figure value={String(closure.packages.length)} name="packages in all" />
          </div>
        )}
        {error !== null && <p className="note bad">{messageOf(error)}</p>}
        {closure?.unknown.map(({ name, nearest }) => (
          <p key={name} className="note bad">
            There is no package {name}.{" "}
            {nearest.slice(0, 3).map((near) => (
              <button
                key={near}
                type="button"
                className="button quiet"
                onClick={() => {
                  take(name);
                  add(near);
                }}
              >
                {near}
              </button>
            ))}
          </p>
        ))}
        {closure?.conflicts.map((conflict) => (
          <p key={`${conflict.package} ${conflict.with} ${conflict.reason}`} className="note bad">
            {conflict.package} {conflict.reason}.
          </p>
        ))}
        {packages.length === 0 && (
          <p className="muted">
            No package yet: a kernel and busybox alone. Add what your application needs; what that needs comes
            along.
          </p>
        )}
      </div>
      <ul className="lines packages">
        {packages.map((name) => {
          const found = closure?.packages.find((each) => each.name === name);
          return (
            <li key={name}>
              {found ? <Described of={found} /> : <strong>{name}</strong>}
              <Action onPress={() => take(name)} label={`Take out ${name}`}>
                Take out
              </Action>
            </li>
          );
        })}
      </ul>
      {along.length > 0 && (
        <details className="body">
          <summary>{along.length} that come along</summary>
          <ul className="lines">
            {along.map((each) => (
              <li key={each.name}>
                <Described of={each}>
                  {each.base ? "in every image" : each.because ? `for ${each.because}` : each.description}
                </Described>
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

const Figure = ({ value, name }: { value: string; name: string }) => (
  <div className="figure">
    <b>{value}</b>
    <span>{name}</span>
  </div>
);

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
