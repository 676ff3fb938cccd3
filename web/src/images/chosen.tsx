/** What is in an image of the packages that were picked: what comes along, what it weighs, what does not go together. */
import { Action, Figure, size } from "../../ui/basics.tsx";
import { messageOf } from "../data/api.ts";
import { Described } from "./described.tsx";
import type { Closure } from "./picker.ts";

export function Chosen({
  packages,
  isFull,
  isKnown,
  closure,
  isStale,
  error,
  add,
  take,
}: {
  packages: readonly string[];
  /** With its package manager and systemd. */
  isFull: boolean;
  /** The server tells what comes along with them. */
  isKnown: boolean;
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
            No package yet: {isFull ? "a kernel and the system itself" : "a kernel and busybox"} alone. Add
            what your application needs; what that needs comes along.
          </p>
        )}
        {!isKnown && packages.length > 0 && (
          <p className="muted">What comes along with these, and what it weighs, is known when it is built.</p>
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
