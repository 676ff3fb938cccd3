/** All hosts, as a table. */
import { useMemo } from "react";
import { Badge, Meter, size } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { DataTable, type TableColumn } from "../../ui/table.tsx";
import { cpuShare, type HostLoad, hostState, hostTone, loadOf, memoryShare } from "../data/derive.ts";
import type { HostBrief } from "../data/kinds.ts";
import { isHidden, useBrief } from "../data/live.ts";
import { Link, useParam } from "../router.tsx";
import { OwnMachines } from "./own.tsx";

interface Row {
  host: HostBrief;
  load: HostLoad | undefined;
}

const COLUMNS: readonly TableColumn<Row>[] = [
  {
    id: "name",
    head: "Name",
    value: ({ host }) => host.metadata.name,
    cell: ({ host }) => <Link href={`/hosts/${host.metadata.name}`}>{host.metadata.name}</Link>,
  },
  {
    id: "state",
    head: "State",
    value: ({ host }) => hostState(host),
    cell: ({ host }) => <Badge tone={hostTone(hostState(host))}>{hostState(host)}</Badge>,
  },
  {
    id: "place",
    head: "Site, rack",
    wideOnly: true,
    value: ({ host }) => `${host.spec.site ?? ""} ${host.spec.rack ?? ""}`,
    cell: ({ host }) =>
      [host.spec.site, host.spec.rack].filter(Boolean).join(", ") || <span className="muted">–</span>,
  },
  {
    id: "machines",
    head: "Machines",
    numeric: true,
    wideOnly: true,
    value: ({ load }) => load?.machines.length ?? 0,
    cell: ({ load }) => load?.machines.length ?? 0,
  },
  {
    id: "cpus",
    head: "CPUs given out",
    numeric: true,
    value: ({ load }) => (load ? cpuShare(load) : 0),
    cell: ({ load }) => (
      <Meter
        label="CPUs given out"
        value={load ? cpuShare(load) : 0}
        text={`${load?.cpus ?? 0} of ${load?.allCpus ?? 0}`}
      />
    ),
  },
  {
    id: "memory",
    head: "Memory given out",
    numeric: true,
    wideOnly: true,
    value: ({ load }) => (load ? memoryShare(load) : 0),
    cell: ({ load }) => (
      <Meter
        label="Memory given out"
        value={load ? memoryShare(load) : 0}
        text={`${size(load?.memoryBytes)} of ${size(load?.allMemoryBytes)}`}
      />
    ),
  },
  {
    id: "watts",
    head: "Watts",
    numeric: true,
    wideOnly: true,
    value: ({ load }) => load?.watts ?? -1,
    cell: ({ load }) =>
      load?.watts === undefined ? <span className="muted">–</span> : Math.round(load.watts),
  },
  {
    id: "cpu",
    head: "CPU",
    wideOnly: true,
    value: ({ host }) => host.status?.facts?.cpu.model ?? "",
    cell: ({ host }) => (
      <span className="muted" title={host.status?.facts?.cpu.model}>
        {host.status?.facts?.cpu.model}
        {host.status?.facts?.source === "declared" && " (declared)"}
      </span>
    ),
  },
];

export default function Hosts() {
  const hosts = useBrief("hosts");
  const machines = useBrief("virtualmachines");
  const [filter, setFilter] = useParam("q");
  const rows = useMemo(() => {
    const loads = loadOf(hosts.list, machines.list);
    return hosts.list.map((host) => ({ host, load: loads.get(host.metadata.name) }));
  }, [hosts.list, machines.list]);
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = rows.filter(({ host }) => {
    const text = [
      host.metadata.name,
      host.spec.site,
      host.spec.rack,
      hostState(host),
      host.status?.facts?.cpu.model,
    ]
      .join(" ")
      .toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (isHidden(hosts)) return <OwnMachines title="Hosts" />;
  return (
    <>
      <div className="page-head">
        <h1>Hosts</h1>
        <span className="muted">
          {shown.length === rows.length ? rows.length : `${shown.length} of ${rows.length}`}
        </span>
      </div>
      <Ready of={[hosts, machines]} what="the hosts">
        {() => (
          <>
            <div className="filters">
              <input
                type="search"
                aria-label="Filter hosts"
                placeholder="Filter: name, site, rack, state, CPU"
                value={filter}
                onChange={(event) => setFilter(event.target.value)}
              />
            </div>
            <DataTable
              label="Hosts"
              rows={shown}
              idOf={({ host }) => host.metadata.name}
              columns={COLUMNS}
              sortBy="name"
              empty={
                <Empty title={rows.length === 0 ? "No hosts yet" : "No host meets the filter"}>
                  <p>A host appears here when its agent enrols at this control plane.</p>
                </Empty>
              }
            />
          </>
        )}
      </Ready>
    </>
  );
}
