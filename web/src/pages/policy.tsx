/** One policy: what it wants, whom it chooses, how it is kept; and its editor, whose server checks it as one types. */
import { useMemo, useState } from "react";
import {
  describePolicy,
  describeSelector,
  type Want as WantOf,
} from "../../../src/director/estate/policy-words.ts";
import { Action } from "../../ui/basics.tsx";
import { FormDialog } from "../../ui/dialog.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import type { PageProps } from "../app.tsx";
import { remove } from "../data/actions.ts";
import { chosenBy } from "../data/derive.ts";
import type { Machine, Policy as PolicyKind } from "../data/kinds.ts";
import { useBrief, useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { Link, navigate } from "../router.tsx";
import { YamlEditor } from "../yaml/object.tsx";
import { Conditions } from "./conditions.tsx";
import { Satisfied } from "./director.tsx";
import { EventTable } from "./events.tsx";
import { MachineState, machinePath } from "./machines.tsx";

export default function Policy({ parts: [namespace = "", name = ""] }: PageProps) {
  const policies = useLive("policies");
  const machines = useBrief("virtualmachines");
  const policy = policies.items.get(`${namespace}/${name}`);
  return (
    <Ready of={[policies, machines]} what={name}>
      {() =>
        policy ? (
          <Found policy={policy} machines={machines.list} />
        ) : (
          <Empty isPage title={`There is no policy ${name} in ${namespace}`}>
            <p>
              <Link href="/director">All policies</Link>
            </p>
          </Empty>
        )
      }
    </Ready>
  );
}

function Found({ policy, machines }: { policy: PolicyKind; machines: readonly Machine[] }) {
  const { metadata, spec, status } = policy;
  const can = useRights(metadata.namespace);
  const [isDeleting, setDeleting] = useState(false);
  const chosen = useMemo(() => chosenBy(policy, machines), [policy, machines]);
  return (
    <>
      <div className="page-head">
        <h1>
          {metadata.name} <Satisfied policy={policy} />
        </h1>
        <span className="muted">policy in {metadata.namespace}</span>
        <div className="actions">
          <Action kind="danger" onPress={() => setDeleting(true)} whyNot={can("delete", "policies")}>
            Delete…
          </Action>
        </div>
      </div>
      <div className="stack">
        <div className="split">
          <section className="panel">
            <h2>What it wants</h2>
            <dl className="facts body">
              <dt>Chooses</dt>
              <dd>{describeSelector(spec.selector)}</dd>
              {describePolicy(policy).map(({ what, wants, areRules }) => (
                <Want key={what} {...{ what, wants, areRules }} />
              ))}
            </dl>
          </section>
          <section className="panel">
            <h2>Machines it chooses</h2>
            {chosen.length === 0 ? (
              <p className="body muted">None has the labels that it asks for.</p>
            ) : (
              <ul className="lines">
                {chosen.slice(0, 200).map((vm) => (
                  <li key={vm.metadata.uid}>
                    <Link href={machinePath(vm)}>{vm.metadata.name}</Link>
                    <MachineState vm={vm} />
                    <span className="push muted">{vm.status?.host}</span>
                  </li>
                ))}
                {chosen.length > 200 && (
                  <li>
                    <Link href={`/machines?q=policy:${metadata.name}`}>and {chosen.length - 200} more</Link>
                  </li>
                )}
              </ul>
            )}
          </section>
          <Conditions conditions={status?.conditions ?? []} />
        </div>
        <YamlEditor plural="policies" object={policy} can={can} />
        <section className="panel">
          <h2>Events</h2>
          <EventTable kind="Policy" name={metadata.name} namespace={metadata.namespace} />
        </section>
      </div>
      {isDeleting && (
        <FormDialog
          title={`Delete the policy ${metadata.name}`}
          verb="Delete it"
          danger
          typed={metadata.name}
          onClose={() => setDeleting(false)}
          onSend={async () => {
            await remove("policies", metadata);
            navigate("/director");
          }}
        >
          <p>
            Its {chosen.length} machines stay where they are; from now on other policies say where they
            belong, or none.
          </p>
        </FormDialog>
      )}
    </>
  );
}

function Want({ what, wants, areRules }: WantOf) {
  const [first, ...more] = wants;
  return (
    <>
      <dt>{what}</dt>
      <dd>
        {more.length === 0 && !areRules ? (
          first
        ) : (
          <ul>
            {wants.map((want) => (
              <li key={want}>{areRules ? <code>{want}</code> : want}</li>
            ))}
          </ul>
        )}
      </dd>
    </>
  );
}
