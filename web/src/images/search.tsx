/** Packages of a distribution: looked for and picked, or, where the server has no lists of them, named. */
import { useEffect, useState } from "react";
import { Action } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { ErrorNote, Loading } from "../../ui/states.tsx";
import { Described } from "./described.tsx";
import { useSearch } from "./picker.ts";

const PAGE = 50;

export function Search({
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
        <>
          <ErrorNote title="The package lists cannot be read" error={error} />
          <ByName add={add} />
        </>
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

/** Where nothing can be looked for. @param why in words of the server */
export function PackagesByName({ why, add }: { why: string; add: (name: string) => void }) {
  return (
    <section className="panel">
      <h2>Packages</h2>
      <p className="body muted">{why}</p>
      <ByName add={add} />
    </section>
  );
}

/** The build looks at them. */
function ByName({ add }: { add: (name: string) => void }) {
  const [text, setText] = useState("");
  const names = text.split(/[\s,]+/).filter((name) => name !== "");
  const send = () => {
    for (const name of names) add(name);
    setText("");
  };
  return (
    <div className="body stack">
      <Field
        id="package-names"
        label="Names of packages"
        hint="Several with spaces between them. The build checks them first, and says what may have been meant."
      >
        <input
          id="package-names"
          value={text}
          spellCheck={false}
          autoComplete="off"
          onChange={({ target }) => setText(target.value)}
          onKeyDown={(event) => {
            // It does not send the form.
            if (event.key !== "Enter") return;
            event.preventDefault();
            send();
          }}
        />
      </Field>
      <span>
        <Action onPress={send} whyNot={names.length === 0 ? "There is no name yet." : undefined}>
          Add
        </Action>
      </span>
    </div>
  );
}
