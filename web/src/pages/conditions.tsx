/** The panel of an object's conditions. */
import { Ago, Badge } from "../../ui/basics.tsx";

export function Conditions({
  conditions,
}: {
  conditions: readonly {
    type: string;
    status: string;
    reason: string;
    message: string;
    lastTransitionTime: string;
  }[];
}) {
  return (
    <section className="panel">
      <h2>Conditions</h2>
      {conditions.length === 0 ? (
        <p className="body muted">Nothing has been told yet.</p>
      ) : (
        <ul className="lines">
          {conditions.map(({ type, status, reason, message, lastTransitionTime }) => (
            <li key={type}>
              <Badge
                tone={status === "Unknown" ? "warn" : type === "Ready" && status === "True" ? "ok" : "idle"}
              >
                {type}: {status === "True" ? "yes" : status === "False" ? "no" : "unknown"}
              </Badge>
              <span>
                {reason}
                {message && <span className="muted">: {message}</span>}
              </span>
              <span className="muted push">
                <Ago time={lastTransitionTime} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
