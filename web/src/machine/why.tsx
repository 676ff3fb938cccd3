/** Why a machine is where it is: what the director says of each host, now. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import type { Placed } from "../../../src/director/planning/answers.ts";
import { ErrorNote, Loading } from "../../ui/states.tsx";
import { isApiError, request } from "../data/api.ts";
import { objectPath, type Place } from "../data/kinds.ts";
import { Link } from "../router.tsx";

/** Load changes what the director says, too. */
const AGAIN_MS = 30_000;

export const placementPath = (machine: Place) => `${objectPath("virtualmachines", machine)}/placement`;

/** @param standing what, when it changes, has the director asked anew at once */
export const usePlacement = (machine: Place, standing: string) =>
  useQuery({
    queryKey: ["placement", machine.namespace, machine.name, standing],
    queryFn: ({ signal }) => request<Placed>("GET", placementPath(machine), { signal }),
    refetchInterval: AGAIN_MS,
    placeholderData: keepPreviousData,
    retry: (failures, error) =>
      failures < 3 && !isApiError(error, "Forbidden") && !isApiError(error, "NotFound"),
  });

/** To users of one namespace. */
const HIDDEN =
  "How each host would be judged is shown to those who may see hosts; under Machine it says why this one was chosen.";

export function Why({ machine, standing }: { machine: Place; standing: string }) {
  const { data, error } = usePlacement(machine, standing);
  if (isApiError(error, "Forbidden")) return <p className="muted">{HIDDEN}</p>;
  if (isApiError(error, "NotFound"))
    return <p className="muted">The director does not know this machine yet.</p>;
  if (error && !data) return <ErrorNote title="Cannot tell why" error={error} />;
  if (!data) return <Loading what="what the director says" />;
  return <Verdicts of={data} />;
}

export function Verdicts({
  of: { policies, about, host, moves, latency, use, hosts, others },
}: {
  of: Placed;
}) {
  return (
    <>
      <p className="muted">
        {policies.length > 0
          ? `By ${policies.map(({ name, goal }) => `${name} (${goal})`).join(", ")}; as each host would be judged now, the best first.`
          : "No policy chooses it, so speed, room and watts count alike; as each host would be judged now, the best first."}
      </p>
      {about && policies.length > 0 && (
        <details>
          <summary>What each policy contributes on {about}</summary>
          <Contributions of={policies} />
        </details>
      )}
      {moves && <p className="muted">The director moves it {moves}.</p>}
      {latency && <p className="muted">Latency sensitivity {latency}.</p>}
      {host !== undefined && <p className="muted">Processors: {use}.</p>}
      <ol className="verdicts">
        {hosts.map(({ name, chosen, ruledOut, verdict, against, compared }) => (
          <li key={name} aria-current={chosen ? "true" : undefined}>
            <Link href={`/hosts/${name}`}>{name}</Link>
            {chosen && <span className="badge ok">here</span>}
            {against && against.length > 1 ? (
              <div className="muted">
                ruled out, for {against.length} reasons:
                <ul>
                  {against.map(({ why }) => (
                    <li key={why}>{why}</li>
                  ))}
                </ul>
              </div>
            ) : (
              <span className={ruledOut ? "muted" : ""}>{verdict}</span>
            )}
            {compared && <span className="muted">{compared}</span>}
          </li>
        ))}
      </ol>
      {others && <Others of={others} />}
    </>
  );
}

/** Of policies, each with its part of the score and what it says. */
function Contributions({ of }: { of: Placed["policies"] }) {
  return (
    <dl className="contributions">
      {of.map(({ name, score = 0, says = [] }) => (
        <div key={name}>
          <dt>
            {name}: {score.toFixed(2)} of the score
          </dt>
          {says.map((line) => (
            <dd key={line}>{line}</dd>
          ))}
        </div>
      ))}
    </dl>
  );
}

function Others({ of: { possible, ruledOut, alike = [] } }: { of: NonNullable<Placed["others"]> }) {
  return (
    <>
      <p className="muted">
        {[
          possible > 0 && `${possible.toLocaleString()} more hosts could have it`,
          ruledOut > 0 && `${ruledOut.toLocaleString()} more are ruled out`,
        ]
          .filter(Boolean)
          .join("; ")}
        .
      </p>
      {alike.length > 0 && (
        <ul className="muted">
          {alike.map(({ hosts, names, against }) => (
            <li key={names[0]}>
              {hosts.toLocaleString()} ({names.join(", ")}
              {hosts > names.length ? ", …" : ""}): {against.join("; ")}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
