/** What the director is to do, and what it does: policies, the plan of now, and what came of earlier ones. */
import { type ReactNode, useMemo } from "react";
import { describePolicy } from "../../../src/director/estate/policy-words.ts";
import { describeEffect, sumEffects } from "../../../src/director/planning/effect-words.ts";
import { Action, Ago, Badge } from "../../ui/basics.tsx";
import { Empty, Loading, Ready } from "../../ui/states.tsx";
import { DataTable, type TableColumn } from "../../ui/table.tsx";
import { conditionOf, loadOf, phaseOfPlan, policyColors } from "../data/derive.ts";
import { keyOf, type Plan, type Policy, type PowerPolicy, type Site } from "../data/kinds.ts";
import { isHidden, useBrief, useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { scope } from "../data/scope.ts";
import { siteLines } from "../estate/scene-of.ts";
import { Link, navigate } from "../router.tsx";
import { useDark } from "../theme.ts";
import { Changes } from "./outlook.tsx";
import { PlanBadge } from "./plan-badge.tsx";

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

const predictedOf = ({ spec }: Plan) =>
  describeEffect(sumEffects(spec.moves.map(({ predicted }) => predicted)));
const actualOf = ({ status }: Plan) =>
  describeEffect(sumEffects((status?.moves ?? []).map(({ actual }) => actual)));

/** Plans that are not over, by their phase. */
const OPEN: Readonly<Record<string, string>> = {
  Proposed: "Proposed, waits for you",
  Held: "Approved, waits for the end of quiet hours",
  Running: "Under way",
  "Being stopped": "Being stopped",
};

const POWER: readonly TableColumn<PowerPolicy>[] = [
  {
    id: "name",
    head: "Power policy",
    value: ({ metadata }) => metadata.name,
    cell: ({ metadata }) => <Link href={`/director/powerpolicies/${metadata.name}`}>{metadata.name}</Link>,
  },
  {
    id: "spare",
    head: "Spare hosts",
    value: (policy) => conditionOf(policy, "SpareKept")?.status ?? "",
    cell: (policy) => {
      const kept = conditionOf(policy, "SpareKept");
      return kept ? (
        <Badge tone={kept.status === "True" ? "ok" : kept.status === "False" ? "bad" : "warn"}>
          {kept.status === "True" ? `${policy.spec.spareHosts} kept` : kept.reason}
        </Badge>
      ) : (
        policy.spec.spareHosts
      );
    },
  },
  {
    id: "hosts",
    head: "Hosts on, off",
    numeric: true,
    value: ({ status }) => status?.on ?? 0,
    cell: ({ status }) => `${status?.on ?? 0}, ${status?.off ?? 0}`,
  },
  {
    id: "does",
    head: "What it does",
    wraps: true,
    value: ({ spec }) => spec.automation,
    cell: ({ spec, status }) =>
      spec.automation === "act"
        ? "switches hosts off and on by itself"
        : spec.automation === "off"
          ? "nothing"
          : status?.advised
              ?.map(({ host, power }) => `would switch ${host} ${power.toLowerCase()}`)
              .join("; ") || "only advises; nothing now",
  },
];

const SITES: readonly TableColumn<{ site: Site; now: string }>[] = [
  {
    id: "name",
    head: "Site",
    value: ({ site }) => site.metadata.name,
    cell: ({ site }) => <Link href={`/director/sites/${site.metadata.name}`}>{site.metadata.name}</Link>,
  },
  { id: "now", head: "Now", wraps: true, value: ({ now }) => now, cell: ({ now }) => now },
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
    value: phaseOfPlan,
    cell: (plan) => <PlanBadge plan={plan} />,
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
    id: "predicted",
    head: "Predicted",
    wideOnly: true,
    wraps: true,
    value: predictedOf,
    cell: (plan) => predictedOf(plan) || <span className="muted">–</span>,
  },
  {
    id: "actual",
    head: "Came of it",
    wideOnly: true,
    wraps: true,
    value: actualOf,
    cell: (plan) => actualOf(plan) || <span className="muted">–</span>,
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
  const power = useLive("powerpolicies");
  const sites = useLive("sites");
  const hosts = useBrief("hosts");
  const machines = useBrief("virtualmachines");
  const inNamespace = useRights(scope || "default");
  const can = useRights(undefined);
  const siteRows = useMemo(() => {
    const lines = siteLines({
      hosts: hosts.list,
      loads: loadOf(hosts.list, machines.list),
      sites: sites.list,
    });
    return sites.list.map((site) => ({ site, now: lines.get(site.metadata.name) ?? "no host is there" }));
  }, [hosts.list, machines.list, sites.list]);
  const proposed = useMemo(
    () => plans.list.filter((plan) => OPEN[phaseOfPlan(plan)] !== undefined),
    [plans.list],
  );
  return (
    <>
      <div className="page-head">
        <h1>Director</h1>
      </div>
      {/* All at once: what comes later would push what is read already. */}
      {[policies, plans, power, sites].some(({ state }) => state === "loading") ? (
        <Loading what="the policies and plans" />
      ) : (
        <div className="stack">
          {proposed.map((plan) => (
            <div key={plan.metadata.uid} className="note stack">
              <p>
                {OPEN[phaseOfPlan(plan)]}:{" "}
                <Link href={planPath(plan)}>
                  {plan.spec.moves.length} {plan.spec.moves.length === 1 ? "move" : "moves"}
                </Link>
                , because {plan.spec.trigger}.
              </p>
              {plan.status?.outlook && <Changes outlook={plan.status.outlook} />}
            </div>
          ))}
          <section>
            <div className="page-head">
              <h2>Policies</h2>
              <div className="actions">
                <Action
                  onPress={() => navigate("/director/new/policies")}
                  whyNot={inNamespace("create", "policies")}
                >
                  New policy
                </Action>
              </div>
            </div>
            <Ready of={[policies]} what="the policies">
              {() => (
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
              )}
            </Ready>
          </section>
          {isHidden(plans) && (
            <p className="note">
              Plans, power and sites are of all namespaces; they are shown to those who run the hosts. What
              concerns your machines is told by their events.
            </p>
          )}
          <Listing
            title="Plans"
            of={plans}
            rows={plans.list}
            idOf={keyOf}
            columns={PLANS}
            sortBy="age"
            without="A plan is made when moving machines gains enough: after a policy, a host or a machine has changed."
          />
          <Listing
            title="Power policies"
            of={power}
            rows={power.list}
            idOf={keyOf}
            columns={POWER}
            without="Without one all hosts stay on."
            action={
              <Action
                onPress={() => navigate("/director/new/powerpolicies")}
                whyNot={can("create", "powerpolicies")}
              >
                New power policy
              </Action>
            }
          />
          <Listing
            title="Sites"
            of={sites}
            rows={siteRows}
            idOf={({ site }) => site.metadata.name}
            columns={SITES}
            without="One tells what power costs and emits there, for the goals cost and carbon."
            action={
              <Action onPress={() => navigate("/director/new/sites")} whyNot={can("create", "sites")}>
                New site
              </Action>
            }
          />
        </div>
      )}
    </>
  );
}

/** A table with its heading; hidden from who may not list what it shows. */
function Listing<Row>({
  title,
  of,
  without,
  action,
  sortBy = "name",
  ...table
}: {
  title: string;
  of: Parameters<typeof isHidden>[0] & Parameters<typeof Ready>[0]["of"][number];
  rows: readonly Row[];
  idOf: (row: Row) => string;
  columns: readonly TableColumn<Row>[];
  /** What is so while there is none. */
  without: string;
  action?: ReactNode;
  sortBy?: string;
}) {
  const what = title.toLowerCase();
  return (
    <section hidden={isHidden(of)}>
      <div className="page-head">
        <h2>{title}</h2>
        {action && <div className="actions">{action}</div>}
      </div>
      <Ready of={[of]} what={`the ${what}`}>
        {() => (
          <DataTable
            label={title}
            sortBy={sortBy}
            empty={
              <Empty title={`No ${what}`}>
                <p>{without}</p>
              </Empty>
            }
            {...table}
          />
        )}
      </Ready>
    </section>
  );
}
