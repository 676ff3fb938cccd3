/** All machines, as a table. */
import { useMemo, useState } from "react";
import { Ago, Badge, size } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { DataTable, type TableColumn } from "../../ui/table.tsx";
import { bytesOf, phaseOf, policiesOf, toneOf } from "../data/derive.ts";
import { keyIn, machineFilter, withKey } from "../data/filter.ts";
import { keyOf, type Machine, type Policy } from "../data/kinds.ts";
import { useBrief, useLive } from "../data/live.ts";
import { Bulk } from "../machine/bulk.tsx";
import { Link, useParam } from "../router.tsx";

interface Row {
  vm: Machine;
  policies: readonly Policy[];
}

export const machinePath = (vm: Machine) => `/machines/${vm.metadata.namespace}/${vm.metadata.name}`;

const COLUMNS: readonly TableColumn<Row>[] = [
  {
    id: "name",
    head: "Name",
    value: ({ vm }) => vm.metadata.name,
    cell: ({ vm }) => <Link href={machinePath(vm)}>{vm.metadata.name}</Link>,
  },
  {
    id: "namespace",
    head: "Namespace",
    wideOnly: true,
    value: ({ vm }) => vm.metadata.namespace ?? "",
    cell: ({ vm }) => <span className="muted">{vm.metadata.namespace}</span>,
  },
  {
    id: "state",
    head: "State",
    value: ({ vm }) => phaseOf(vm),
    cell: ({ vm }) => <MachineState vm={vm} />,
  },
  {
    id: "host",
    head: "Host",
    value: ({ vm }) => vm.status?.host ?? "",
    cell: ({ vm }) =>
      vm.status?.host ? (
        <Link href={`/hosts/${vm.status.host}`}>{vm.status.host}</Link>
      ) : (
        <span className="muted">–</span>
      ),
  },
  {
    id: "policy",
    head: "Policy",
    wideOnly: true,
    value: ({ policies }) => policies[0]?.metadata.name ?? "",
    cell: ({ policies }) =>
      policies.map(({ metadata }) => metadata.name).join(", ") || <span className="muted">–</span>,
  },
  {
    id: "address",
    head: "Address",
    wideOnly: true,
    value: ({ vm }) => vm.status?.interfaces?.[0]?.address ?? "",
    cell: ({ vm }) => <span className="mono">{vm.status?.interfaces?.[0]?.address ?? ""}</span>,
  },
  {
    id: "cpus",
    head: "CPUs",
    numeric: true,
    wideOnly: true,
    value: ({ vm }) => vm.spec.cpus,
    cell: ({ vm }) => vm.spec.cpus,
  },
  {
    id: "memory",
    head: "Memory",
    numeric: true,
    value: ({ vm }) => bytesOf(vm.spec.memory),
    cell: ({ vm }) => size(bytesOf(vm.spec.memory)),
  },
  {
    id: "used",
    head: "CPU used",
    numeric: true,
    wideOnly: true,
    value: ({ vm }) => vm.status?.usage?.cpus ?? -1,
    cell: ({ vm }) =>
      vm.status?.usage && vm.status.host ? vm.status.usage.cpus.toFixed(2) : <span className="muted">–</span>,
  },
  {
    id: "age",
    head: "Age",
    numeric: true,
    wideOnly: true,
    value: ({ vm }) => -Date.parse(vm.metadata.creationTimestamp ?? ""),
    cell: ({ vm }) => <Ago time={vm.metadata.creationTimestamp} />,
  },
];

export function MachineState({ vm }: { vm: Machine }) {
  const phase = phaseOf(vm);
  const [tone, busy] = toneOf(phase);
  return (
    <Badge tone={tone} busy={busy}>
      {phase}
    </Badge>
  );
}

export function Machines() {
  const machines = useBrief("virtualmachines");
  const policies = useLive("policies");
  const [filter, setFilter] = useParam("q");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const rows = useMemo(
    () => machines.list.map((vm) => ({ vm, policies: policiesOf(vm, policies.list) })),
    [machines.list, policies.list],
  );
  const shown = useMemo(() => {
    const test = machineFilter(filter);
    return rows.filter(({ vm, policies }) => test(vm, policies));
  }, [rows, filter]);
  const chosenMachines = useMemo(
    () => machines.list.filter((vm) => chosen.has(keyOf(vm))),
    [machines.list, chosen],
  );
  const states = useMemo(() => [...new Set(rows.map(({ vm }) => phaseOf(vm)))].sort(), [rows]);
  return (
    <>
      <div className="page-head">
        <h1>Machines</h1>
        <span className="muted">
          {shown.length === rows.length ? rows.length : `${shown.length} of ${rows.length}`}
        </span>
      </div>
      <Ready of={[machines]} what="the machines">
        {() => (
          <>
            <div className="filters">
              <input
                type="search"
                aria-label="Filter machines"
                placeholder="Filter: name, tier=web, state:running, host:…"
                value={filter}
                onChange={(event) => setFilter(event.target.value)}
              />
              <select
                aria-label="State"
                value={states.find((state) => state.toLowerCase() === keyIn(filter, "state")) ?? ""}
                onChange={(event) => setFilter(withKey(filter, "state", event.target.value.toLowerCase()))}
              >
                <option value="">All states</option>
                {states.map((state) => (
                  <option key={state}>{state}</option>
                ))}
              </select>
              <select
                aria-label="Policy"
                value={keyIn(filter, "policy")}
                onChange={(event) => setFilter(withKey(filter, "policy", event.target.value))}
              >
                <option value="">All policies</option>
                {policies.list.map(({ metadata }) => (
                  <option key={metadata.uid}>{metadata.name}</option>
                ))}
                <option value="none">without one</option>
              </select>
            </div>
            {chosen.size > 0 && <Bulk machines={chosenMachines} clear={() => setChosen(new Set())} />}
            <DataTable
              label="Machines"
              rows={shown}
              idOf={({ vm }) => keyOf(vm)}
              columns={COLUMNS}
              sortBy="name"
              selection={{ chosen, set: setChosen }}
              empty={
                rows.length === 0 ? (
                  <Empty title="No machines yet">
                    <p>A machine is made from an image and placed by policy.</p>
                  </Empty>
                ) : (
                  <Empty title="No machine meets the filter">
                    <button type="button" className="button" onClick={() => setFilter("")}>
                      Show all {rows.length}
                    </button>
                  </Empty>
                )
              }
            />
          </>
        )}
      </Ready>
    </>
  );
}
