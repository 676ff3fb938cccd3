/** Why a machine is where it is: what the director says of each host, now. */
import { useQuery } from "@tanstack/react-query";
import type { Explanation } from "../../../src/director/planning/explain.ts";
import { ErrorNote, Loading } from "../../ui/states.tsx";
import { isApiError } from "../data/api.ts";
import { type LiveResult, useLive } from "../data/live.ts";
import type { Objects } from "../director.ts";
import { Link } from "../router.tsx";

/** What the director looks at; undefined while some of it is not there yet. */
export function useObjects(): { objects: Objects | undefined; wrong: unknown } {
  const hosts = useLive("hosts");
  const machines = useLive("virtualmachines");
  const instances = useLive("instances");
  const policies = useLive("policies");
  const migrations = useLive("migrations");
  const pools = useLive("storagepools");
  const sites = useLive("sites");
  const all: readonly LiveResult<unknown>[] = [
    hosts,
    machines,
    instances,
    policies,
    migrations,
    pools,
    sites,
  ];
  const wrong = all.find(({ state }) => state === "error")?.error;
  if (all.some(({ state }) => state !== "ready")) return { objects: undefined, wrong };
  return {
    objects: {
      hosts: hosts.list,
      machines: machines.list,
      instances: instances.list,
      policies: policies.list,
      migrations: migrations.list,
      pools: pools.list,
      sites: sites.list,
    },
    wrong,
  };
}

export const useDirector = () =>
  useQuery({
    queryKey: ["director"],
    queryFn: () => import("../director.ts"),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** To users of one namespace. */
const HIDDEN =
  "How each host would be judged is shown to those who may see hosts; under Machine it says why this one was chosen.";

export function Why({ machine }: { machine: string }) {
  const { objects, wrong } = useObjects();
  const director = useDirector();
  if (isApiError(wrong, "Forbidden")) return <p className="muted">{HIDDEN}</p>;
  if (wrong) return <ErrorNote title="Cannot tell why" error={wrong} />;
  if (!objects || !director.data) return <Loading what="what the director looks at" />;
  const found = director.data.explainMachine(objects, machine);
  if (!found) return <p className="muted">The director does not know this machine yet.</p>;
  return <Verdicts explanation={found} />;
}

export function Verdicts({ explanation }: { explanation: Explanation }) {
  return (
    <>
      <p className="muted">
        {explanation.policies.length > 0
          ? `By ${explanation.policies.map(({ name, goal }) => `${name} (${goal})`).join(", ")}; as each host would be judged now, the best first.`
          : "No policy chooses it, so speed, room and watts count alike; as each host would be judged now, the best first."}
      </p>
      <ol className="verdicts">
        {explanation.hosts.map(({ name, chosen, verdict }) => (
          <li key={name} aria-current={chosen ? "true" : undefined}>
            <Link href={`/hosts/${name}`}>{name}</Link>
            {chosen && <span className="badge ok">here</span>}
            <span className={verdict.startsWith("ruled out") ? "muted" : ""}>{verdict}</span>
          </li>
        ))}
      </ol>
    </>
  );
}
