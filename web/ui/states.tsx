/** What a page shows when there is nothing to show: not yet, nothing at all, or not possible. */
import { type ReactNode, useState } from "react";
import { isApiError, messageOf } from "../src/data/api.ts";
import { scope, setScope } from "../src/data/scope.ts";

export function Loading({ what }: { what: string }) {
  return (
    <div className="state" role="status" aria-busy="true">
      <div className="skeleton" style={{ width: 220 }} />
      <div className="skeleton" style={{ width: 160 }} />
      <span className="unseen">Loading {what}…</span>
    </div>
  );
}

/** `isPage`: it stands for the whole page. */
export function Empty({
  title,
  isPage,
  children,
}: {
  title: string;
  isPage?: boolean;
  children?: ReactNode;
}) {
  return (
    <div className="state">
      {isPage ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children}
    </div>
  );
}

export function ErrorNote({ title, error, again }: { title: string; error: unknown; again?: () => void }) {
  const hint = isApiError(error, "Forbidden")
    ? "Your account may not see this. Whoever gave you the token can give you a role that may."
    : isApiError(error, "ServiceUnavailable")
      ? "It is tried again by itself; running machines are not affected."
      : undefined;
  return (
    <div className="state" role="alert">
      <h2>{title}</h2>
      <p>{messageOf(error)}</p>
      {hint && <p>{hint}</p>}
      {isApiError(error, "Forbidden") && <OneNamespace />}
      {again && (
        <button type="button" className="button" onClick={() => again()}>
          Try again
        </button>
      )}
    </div>
  );
}

/** For users whose roles are of one namespace. */
function OneNamespace() {
  const [name, setName] = useState(scope);
  return (
    <form
      className="row"
      onSubmit={(event) => {
        event.preventDefault();
        setScope(name.trim());
      }}
    >
      <label htmlFor="one-namespace">Show only the namespace</label>
      <span>
        <input
          id="one-namespace"
          value={name}
          spellCheck={false}
          onChange={(event) => setName(event.target.value)}
        />
      </span>
      <button type="submit" className="button">
        Show it
      </button>
    </form>
  );
}

/** The page's content once its data is there; the other states otherwise, each in one place. */
export function Ready({
  of,
  what,
  children,
}: {
  of: readonly { state: "loading" | "error" | "ready"; error: unknown }[];
  what: string;
  children: () => ReactNode;
}) {
  const wrong = of.find(({ state }) => state === "error");
  if (wrong) return <ErrorNote title={`Cannot load ${what}`} error={wrong.error} />;
  if (of.some(({ state }) => state === "loading")) return <Loading what={what} />;
  return children();
}
