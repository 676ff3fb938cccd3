/** One plan: each move with its reason, what was expected of it and what came of it; approved in whole or in part, or put away. */
import { type ReactNode, useState } from "react";
import type { Undoing } from "../../../src/director/planning/answers.ts";
import { describeMeasured } from "../../../src/director/planning/effect-words.ts";
import { decide, isFinalPlan, isPlanOpen, isRejected } from "../../../src/director/planning/plan-standing.ts";
import { Action, Ago, Badge, Figure, size } from "../../ui/basics.tsx";
import { FormDialog } from "../../ui/dialog.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { tell } from "../../ui/toasts.tsx";
import type { PageProps } from "../app.tsx";
import { create, patch } from "../data/actions.ts";
import { request } from "../data/api.ts";
import { toneOf } from "../data/derive.ts";
import { objectPath, type Plan as PlanKind } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { Link, navigate } from "../router.tsx";
import { EventTable } from "./events.tsx";
import { Outlook } from "./outlook.tsx";
import { PlanBadge } from "./plan-badge.tsx";

type Move = PlanKind["spec"]["moves"][number];
type Effect = NonNullable<Move["predicted"]>;

export default function Plan({ parts: [name = ""] }: PageProps) {
  const plans = useLive("plans");
  const plan = plans.items.get(name);
  return (
    <Ready of={[plans]} what={name}>
      {() =>
        plan ? (
          <Found key={plan.metadata.uid} plan={plan} />
        ) : (
          <Empty isPage title={`There is no plan ${name}`}>
            <p>
              It is kept no more, or never was. <Link href="/director">All plans</Link>
            </p>
          </Empty>
        )
      }
    </Ready>
  );
}

const figures: readonly [keyof Effect, string, (value: number) => string][] = [
  ["seconds", "takes", (value) => `${value} s`],
  ["bytes", "sent", size],
  ["downtimeMs", "stands still", (value) => `${value} ms`],
  ["score", "score", (value) => `${value > 0 ? "+" : ""}${value}`],
  ["watts", "watts", (value) => `${value > 0 ? "+" : ""}${value} W`],
];

const isCost = (key: keyof Effect) => key === "seconds" || key === "bytes";

function Effects({ predicted, actual }: { predicted: Effect | undefined; actual: Effect | undefined }) {
  const known = figures.filter(([key]) => predicted?.[key] !== undefined || actual?.[key] !== undefined);
  if (known.length === 0) return null;
  const line = (name: string, effect: Effect | undefined) =>
    effect && (
      <tr>
        <th scope="row">{name}</th>
        {known.map(([key, , text]) => (
          <td key={key} className="num">
            {effect[key] === undefined ? "–" : text(effect[key])}
          </td>
        ))}
      </tr>
    );
  return (
    <table className="effects">
      <thead>
        <tr>
          <td />
          {known.map(([key, name]) => (
            <th key={key} scope="col" className="num">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {line("predicted", predicted)}
        {line("actual", actual)}
      </tbody>
    </table>
  );
}

function Found({ plan }: { plan: PlanKind }) {
  const { metadata, spec, status } = plan;
  const can = useRights(undefined);
  const [dialog, setDialog] = useState<ReactNode>(null);
  const [left, setLeft] = useState<ReadonlySet<number>>(new Set());
  const phase = status?.phase ?? "Pending";
  const isProposed = phase === "Proposed" && spec.approval === undefined;
  const stateOf = (i: number) => status?.moves?.[i]?.phase ?? "Waiting";
  const isPlannedAnew = spec.moves.some(
    ({ needed }, i) => needed && ["Waiting", "Running"].includes(stateOf(i)),
  );
  const chosen = spec.moves.filter((_, i) => !left.has(i));
  const whyNotApprove =
    chosen.length === 0
      ? "No move is chosen."
      : (can("patch", "plans") ?? (left.size === 0 ? undefined : can("create", "plans")));
  const sum = (key: keyof Effect) => {
    const known = spec.moves.flatMap(({ predicted }) => predicted?.[key] ?? []);
    return known.length === 0 ? undefined : known.reduce((total, value) => total + value, 0);
  };
  const approve = async () => {
    const { approval, instead } = decide(plan, chosen, Date.now());
    await patch("plans", metadata, { spec: { approval } });
    if (!instead) return;
    await create("plans", "Plan", instead);
    navigate(`/director/plans/${instead.metadata.name}`);
  };
  const reject = () => patch("plans", metadata, { spec: { approval: "Rejected" } });
  const undo = async () => {
    const { plan: made, kept } = await request<Undoing>("GET", `${objectPath("plans", metadata)}/undo`);
    if (!made)
      throw new Error(
        `nothing of it can be taken back: ${kept.map(({ vm, why }) => `${vm}: ${why}`).join("; ")}`,
      );
    await create("plans", "Plan", made);
    navigate(`/director/plans/${made.metadata.name}`);
  };
  const whyNotUndo = !isFinalPlan(plan)
    ? `It is ${phase}.`
    : !status?.moves?.some((move) => move.phase === "Succeeded")
      ? "It moved nothing."
      : (can("get", "plans/undo") ?? can("create", "plans"));
  return (
    <>
      <div className="page-head">
        <h1>
          {metadata.name} <PlanBadge plan={plan} />
        </h1>
        <span className="muted">
          plan, <Ago time={metadata.creationTimestamp} /> ago
        </span>
        <div className="actions">
          {isProposed ? (
            <>
              <Action
                kind="primary"
                onPress={() =>
                  void tell(approve(), "approved; the moves begin, in quiet hours once they are over")
                }
                whyNot={whyNotApprove}
              >
                Approve {left.size === 0 ? "all" : `${chosen.length} of ${spec.moves.length}`}
              </Action>
              <Action
                onPress={() =>
                  setDialog(
                    <FormDialog
                      title="Put the proposal away"
                      verb="Put it away"
                      onClose={() => setDialog(null)}
                      onSend={async () => {
                        await reject();
                        navigate("/director");
                      }}
                    >
                      <p>
                        Nothing of it is moved. Its machines stay where they are for a day, unless a rule is
                        broken or a policy of theirs changes.
                      </p>
                    </FormDialog>,
                  )
                }
                whyNot={can("patch", "plans")}
              >
                Reject
              </Action>
            </>
          ) : isPlanOpen(plan) ? (
            <Action
              onPress={() =>
                setDialog(
                  <FormDialog
                    title={`Stop ${metadata.name}`}
                    verb="Stop it"
                    onClose={() => setDialog(null)}
                    onSend={reject}
                  >
                    <p>
                      No further move of it begins. Moves that are under way are cancelled, and their machines
                      run on where they are; one that is too far along for that is finished. What was moved
                      stays moved, until you undo it.
                    </p>
                    <p>
                      {isPlannedAnew
                        ? "What has to go (a host in maintenance, a broken rule) is planned anew within a minute: uncordon the host, or have the policy ask, to keep it there. The other machines stay"
                        : "Its machines stay"}{" "}
                      where they are for a day, unless a rule is broken or a policy of theirs changes.
                    </p>
                  </FormDialog>,
                )
              }
              whyNot={isRejected(plan) ? "It is being stopped." : can("patch", "plans")}
            >
              Stop
            </Action>
          ) : (
            <Action
              onPress={() =>
                setDialog(
                  <FormDialog
                    title={`Undo ${metadata.name}`}
                    verb="Take the moves back"
                    onClose={() => setDialog(null)}
                    onSend={undo}
                  >
                    <p>
                      Each machine that it moved goes back to where it was, live, as far as the rules allow.
                    </p>
                  </FormDialog>,
                )
              }
              whyNot={whyNotUndo}
            >
              Undo
            </Action>
          )}
        </div>
      </div>
      <p className="muted">Because {spec.trigger}.</p>
      {status?.superseded && <p>Superseded: {status.superseded}.</p>}
      <div className="figures" style={{ marginTop: 12 }}>
        <Figure value={`${status?.done ?? 0} of ${spec.moves.length}`} name="moves made" />
        {figures.map(([key, name, text]) => {
          // What it gains is told before and after.
          const value = isCost(key) || !status?.outlook ? sum(key) : undefined;
          return value === undefined ? null : (
            <Figure
              key={key}
              value={text(Math.round(value * 100) / 100)}
              name={`${name}, predicted in all`}
            />
          );
        })}
      </div>
      {status?.outlook && (
        <Outlook
          outlook={status.outlook}
          note={
            isProposed && left.size > 0
              ? `Of all ${spec.moves.length} moves; of those that you approve, figures come with the plan of them.`
              : undefined
          }
        />
      )}
      <section className="panel">
        <h2>Moves</h2>
        <ul className="lines">
          {spec.moves.map((move, i) => {
            const told = status?.moves?.[i];
            const [moveTone, moving] = toneOf(told?.phase ?? "Pending");
            return (
              <li key={`${move.namespace}/${move.vm}`} className="plan-move">
                {isProposed && (
                  <input
                    type="checkbox"
                    aria-label={`Approve the move of ${move.vm}`}
                    checked={!left.has(i)}
                    onChange={(event) => {
                      const next = new Set(left);
                      if (event.target.checked) next.delete(i);
                      else next.add(i);
                      setLeft(next);
                    }}
                  />
                )}
                <div className="stack">
                  <div className="row">
                    <Link href={`/machines/${move.namespace}/${move.vm}`}>{move.vm}</Link>
                    <span>
                      {move.from} → {move.to}
                    </span>
                    {told && !isProposed && (
                      <Badge tone={moveTone} busy={moving}>
                        {told.phase}
                      </Badge>
                    )}
                  </div>
                  <div>{move.reason}</div>
                  {told?.message && (!told.actual || told.phase === "Failed") && (
                    <div className="muted">{told.message}</div>
                  )}
                  <Effects predicted={move.predicted} actual={told?.actual} />
                  {told?.measured && (
                    <div className="muted">
                      Some minutes later: {describeMeasured(told.measured, told.after)}.
                    </div>
                  )}
                </div>
              </li>
            );
          })}
        </ul>
      </section>
      <section className="panel">
        <h2>Events</h2>
        <EventTable kind="Plan" name={metadata.name} />
      </section>
      {dialog}
    </>
  );
}
