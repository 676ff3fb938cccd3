/** What users of one namespace see in place of hosts, which their roles do not show: their own machines, by where they run. */
import { Empty, Ready } from "../../ui/states.tsx";
import type { Machine } from "../data/kinds.ts";
import { useBrief } from "../data/live.ts";
import { scope } from "../data/scope.ts";
import { Link } from "../router.tsx";
import { MachineState, machinePath } from "./machines.tsx";

export function OwnMachines({ title, host }: { title: string; host?: string }) {
  const machines = useBrief("virtualmachines");
  return (
    <>
      <div className="page-head">
        <h1>{title}</h1>
      </div>
      <Ready of={[machines]} what="your machines">
        {() => (
          <ByHost machines={machines.list.filter((vm) => host === undefined || vm.status?.host === host)} />
        )}
      </Ready>
    </>
  );
}

function ByHost({ machines }: { machines: readonly Machine[] }) {
  const hosts = [...Map.groupBy(machines, ({ status }) => status?.host ?? "")].sort(([a], [b]) =>
    a < b ? -1 : 1,
  );
  return (
    <>
      <p className="note lead">
        Hosts are shown to those who run them. Here is where your machines are
        {scope && ` in the namespace ${scope}`}; a role that may list hosts shows all of this page.
      </p>
      {hosts.length === 0 ? (
        <Empty title="You have no machine here">
          <Link className="button" href="/machines/new">
            New machine
          </Link>
        </Empty>
      ) : (
        <div className="split">
          {hosts.map(([name, own]) => (
            <section key={name} className="panel">
              <h2>{name || "On no host"}</h2>
              <ul className="lines">
                {own.slice(0, 200).map((vm) => (
                  <li key={vm.metadata.uid}>
                    <Link href={machinePath(vm)}>{vm.metadata.name}</Link>
                    <MachineState vm={vm} />
                  </li>
                ))}
                {own.length > 200 && (
                  <li>
                    <Link href={`/machines?q=host:${name}`}>and {own.length - 200} more</Link>
                  </li>
                )}
              </ul>
            </section>
          ))}
        </div>
      )}
    </>
  );
}
