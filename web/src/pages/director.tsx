/** What the director is to do, and what it does: policies, the plan of now, and what came of earlier ones. */
import { useMemo } from "react";
import { describePolicy } from "../../../src/director/planning/policy-words.ts";
import { Ago, Badge } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { DataTable, type TableColumn } from "../../ui/table.tsx";
import { conditionOf, policyColors, toneOf } from "../data/derive.ts";
import { keyOf, type Plan, type Policy } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { Link } from "../router.tsx";
import { useDark } from "../theme.ts";

export const policyPath = ({ metadata }: Policy) =>
  `/director/policies/${metadata.namespace}/${metadata.name}`;
export const planPath = ({ metadata }: Plan) => `/director/plans/${metadata.name}`;

/** What it wants in a line: rules are many words, so only how many there are. */
const inShort = (policy: Policy): string =>
  describePolicy(policy)
    .flatMap(({ what, wants, areRules }) =>
      areRules
        ? [`${wants.length} ${what.toLowerCase()} ${wants.length === 1 ? "rule" : "rules"}`]
        : what === "Priority"
          ? [`priority ${wants[0]}`]
          : wants,
    )
    .join("; ");

function Swatch({ name }: { name: string }) {
  const dark = useDark();
  const policies = useLive("policies");
  return <span className="swatch" style={{ background: policyColors(policies.list, dark).get(name) }} />;
}

export function Satisfied({ policy }: { policy: Policy }) {
  const found = conditionOf(policy, "Satisfied");
  if (!found) return <span className="muted">–</span>;
  return (
    <Badge tone={found.status === "True" ? "ok" : found.status === "False" ? "bad" : "warn"}>
      {found.status === "True" ? "Satisfied" : found.reason}
    </Badge>
  );
}

const POLICIES: readonly TableColumn<Policy>[] = [
  {
    id: "name",
    head: "Policy",
    value: ({ metadata }) => metadata.name,
    cell: (policy) => (
      <span className="row">
        <Swatch name={policy.metadata.name} />
        <Link href={policyPath(policy)}>{policy.metadata.name}</Link>
      </span>
    ),
  },
  {
    id: "state",
    head: "State",
    value: (policy) => conditionOf(policy, "Satisfied")?.status ?? "",
    cell: (policy) => <Satisfied policy={policy} />,
  },
  {
    id: "machines",
    head: "Machines",
    numeric: true,
    value: ({ status }) => status?.machines ?? 0,
    cell: ({ status }) => status?.machines ?? 0,
  },
  {
    id: "wants",
    head: "What it wants",
    wraps: true,
    value: inShort,
    cell: inShort,
  },
  {
    id: "namespace",
    head: "Namespace",
    wideOnly: true,
    value: ({ metadata }) => metadata.namespace ?? "",
    cell: ({ metadata }) => <span className="muted">{metadata.namespace}</span>,
  },
];

const PLANS: readonly TableColumn<Plan>[] = [
  {
    id: "age",
    head: "Ago",
    numeric: true,
    value: ({ metadata }) => -Date.parse(metadata.creationTimestamp ?? ""),
    cell: ({ metadata }) => <Ago time={metadata.creationTimestamp} />,
  },
  {
    id: "phase",
    head: "State",
    value: ({ status }) => status?.phase ?? "",
    cell: ({ status }) => {
      const [tone] = toneOf(status?.phase ?? "Pending");
      return (
        <Badge tone={tone} busy={status?.phase === "Running"}>
          {status?.phase ?? "Pending"}
        </Badge>
      );
    },
  },
  {
    id: "name",
    head: "Plan",
    value: ({ metadata }) => metadata.name,
    cell: (plan) => <Link href={planPath(plan)}>{plan.metadata.name}</Link>,
  },
  {
    id: "moves",
    head: "Moves",
    numeric: true,
    value: ({ spec }) => spec.moves.length,
    cell: ({ spec, status }) => `${status?.done ?? 0} of ${spec.moves.length}`,
  },
  {
    id: "trigger",
    head: "Because",
    wraps: true,
    value: ({ spec }) => spec.trigger,
    cell: ({ spec }) => spec.trigger,
  },
];

export default function Director() {
  const policies = useLive("policies");
  const plans = useLive("plans");
  const proposed = useMemo(
    () => plans.list.filter(({ status }) => status?.phase === "Proposed" || status?.phase === "Running"),
    [plans.list],
  );
  return (
    <>
      <div className="page-head">
        <h1>Director</h1>
      </div>
      <Ready of={[policies, plans]} what="the policies">
        {() => (
          <div className="stack">
            {proposed.map((plan) => (
              <p key={plan.metadata.uid} className="note">
                {plan.status?.phase === "Proposed" ? "Proposed, waits for you: " : "Under way: "}
                <Link href={planPath(plan)}>
                  {plan.spec.moves.length} {plan.spec.moves.length === 1 ? "move" : "moves"}
                </Link>
                , because {plan.spec.trigger}.
              </p>
            ))}
            <section>
              <div className="page-head">
                <h2>Policies</h2>
              </div>
              <DataTable
                label="Policies"
                rows={policies.list}
                idOf={keyOf}
                columns={POLICIES}
                sortBy="name"
                empty={
                  <Empty title="No policies">
                    <p>
                      Without one, machines are placed by speed, room and watts alike, and stay where they
                      are.
                    </p>
                  </Empty>
                }
              />
            </section>
            <section>
              <div className="page-head">
                <h2>Plans</h2>
              </div>
              <DataTable
                label="Plans"
                rows={plans.list}
                idOf={keyOf}
                columns={PLANS}
                sortBy="age"
                empty={
                  <Empty title="No plans">
                    <p>
                      A plan is made when moving machines gains enough: after a policy, a host or a machine
                      has changed.
                    </p>
                  </Empty>
                }
              />
            </section>
          </div>
        )}
      </Ready>
    </>
  );
}
