/** One policy: what it wants, whom it chooses, how it is kept; and its editor, whose server checks it as one types. */
import { Badge } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import type { PageProps } from "../app.tsx";
import { policiesOf } from "../data/derive.ts";
import type { Policy as PolicyKind, VirtualMachine } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { YamlEditor } from "../machine/yaml.tsx";
import { Link } from "../router.tsx";
import { Satisfied, shown } from "./director.tsx";
import { EventTable } from "./events.tsx";
import { Conditions } from "./machine.tsx";
import { MachineState, machinePath } from "./machines.tsx";

/** "keepApart" as "Keep apart" */
const words = (key: string) => {
  const text = key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return text.charAt(0).toUpperCase() + text.slice(1);
};

export default function Policy({ parts: [namespace = "", name = ""] }: PageProps) {
  const policies = useLive("policies");
  const machines = useLive("virtualmachines");
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

function Found({ policy, machines }: { policy: PolicyKind; machines: readonly VirtualMachine[] }) {
  const { metadata, spec, status } = policy;
  const can = useRights(metadata.namespace);
  const chosen = machines.filter((vm) => policiesOf(vm, [policy]).length > 0);
  return (
    <>
      <div className="page-head">
        <h1>
          {metadata.name} <Satisfied policy={policy} />
        </h1>
        <span className="muted">policy in {metadata.namespace}</span>
      </div>
      <div className="stack">
        <div className="split">
          <section className="panel">
            <h2>What it wants</h2>
            <dl className="facts body">
              {Object.entries(spec).map(([key, value]) => (
                <Want key={key} name={words(key)} value={value} />
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
          <section className="panel">
            <h2>Conditions</h2>
            <Conditions conditions={status?.conditions ?? []} />
          </section>
        </div>
        <YamlEditor plural="policies" object={policy} can={can} />
        <section className="panel">
          <h2>Events</h2>
          <EventTable kind="Policy" name={metadata.name} namespace={metadata.namespace} />
        </section>
      </div>
    </>
  );
}

function Want({ name, value }: { name: string; value: unknown }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        {Array.isArray(value) ? (
          <ul>
            {value.map((item) => (
              <li key={JSON.stringify(item)}>
                {typeof item === "string" ? <code>{item}</code> : shown(item)}
              </li>
            ))}
          </ul>
        ) : typeof value === "boolean" ? (
          <Badge tone="idle">{value ? "yes" : "no"}</Badge>
        ) : (
          shown(value) || "all of the namespace"
        )}
      </dd>
    </>
  );
}
