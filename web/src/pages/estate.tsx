/** The estate as a map: sites, racks, hosts as tiles, machines in them. */
import { useMemo } from "react";
import { Figure, size } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icons.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { type HostLoad, isOver, loadOf, plainColor, policyColors } from "../data/derive.ts";
import { withKey } from "../data/filter.ts";
import type { Policy } from "../data/kinds.ts";
import { isHidden, useBrief, useLive } from "../data/live.ts";
import { EstateMap, noPolicy } from "../estate/map.tsx";
import { wattsText } from "../estate/scene-of.ts";
import { navigate, useParam } from "../router.tsx";
import { useDark } from "../theme.ts";
import { OwnMachines } from "./own.tsx";

export default function Estate() {
  const hosts = useBrief("hosts");
  const machines = useBrief("virtualmachines");
  const policies = useLive("policies");
  const migrations = useLive("migrations");
  const sites = useLive("sites");
  const [filter, setFilter] = useParam("q");
  const loads = useMemo(() => loadOf(hosts.list, machines.list), [hosts.list, machines.list]);
  const all = [...loads.values()];
  const sum = (of: (load: HostLoad) => number) => all.reduce((total, load) => total + of(load), 0);
  const moving = migrations.list.filter((migration) => !isOver(migration)).length;
  const running = sum((load) => load.machines.length);
  const hidesPolicies = isHidden(policies);
  if (isHidden(hosts)) return <OwnMachines title="Estate" />;
  return (
    <>
      <div className="page-head">
        <h1>Estate</h1>
        <div className="filters" style={{ margin: 0 }}>
          <input
            type="search"
            aria-label="Filter machines on the map"
            placeholder="Filter: name, tier=web, state:running…"
            value={filter}
            onChange={(event) => setFilter(event.target.value)}
          />
        </div>
      </div>
      <Ready of={hidesPolicies ? [hosts, machines] : [hosts, machines, policies]} what="the estate">
        {() =>
          hosts.list.length === 0 ? (
            <Empty title="No hosts yet">
              <p>A host appears here when its agent enrols at this control plane.</p>
            </Empty>
          ) : (
            <>
              <div className="figures">
                <Figure value={String(hosts.list.length)} name={hosts.list.length === 1 ? "host" : "hosts"} />
                <Figure
                  value={String(running)}
                  name={running === 1 ? "machine that runs" : "machines that run"}
                />
                <Figure
                  value={size(sum((load) => load.memoryBytes))}
                  name={`memory given out of ${size(sum((load) => load.allMemoryBytes))}`}
                />
                <Figure value={sum((load) => load.usedCpus).toFixed(1)} name="CPUs in use" />
                <Figure
                  value={wattsText(sum((load) => load.watts ?? 0))}
                  name="by the hosts' power figures"
                />
                <Figure value={String(moving)} name={moving === 1 ? "move under way" : "moves under way"} />
              </div>
              <EstateMap
                {...{ filter, loads, hidesPolicies }}
                hosts={hosts.list}
                hostsByName={hosts.items}
                machines={machines.list}
                machinesByKey={machines.items}
                sites={sites.list}
                policies={policies.list}
                migrations={migrations.list}
              />
              <Legend {...{ filter, setFilter, hidesPolicies }} policies={policies.list} />
            </>
          )
        }
      </Ready>
    </>
  );
}

export function Legend({
  policies,
  hidesPolicies,
  filter,
  setFilter,
}: {
  policies: readonly Policy[];
  hidesPolicies: boolean;
  filter: string;
  setFilter: (text: string) => void;
}) {
  const dark = useDark();
  const colors = policyColors(policies, dark);
  const asTable = (
    <button type="button" className="button quiet" onClick={() => navigate("/hosts")}>
      <Icon name="hosts" /> As a table
    </button>
  );
  if (hidesPolicies)
    return (
      <div className="row legend">
        <span className="muted">Pieces are machines: size is memory; {noPolicy(true)}.</span>
        {asTable}
      </div>
    );
  return (
    <div className="row legend">
      <span className="muted">Pieces are machines: size is memory, colour is policy.</span>
      {[...colors.keys(), undefined].map((name) => {
        const word = name ?? "none";
        const isOn = filter.includes(`policy:${word}`);
        return (
          <button
            key={word}
            type="button"
            className="button quiet"
            aria-pressed={isOn}
            onClick={() => setFilter(withKey(filter, "policy", isOn ? "" : word))}
          >
            <span className="swatch" style={{ background: colors.get(name ?? "") ?? plainColor(dark) }} />
            {name ?? noPolicy(false)}
          </button>
        );
      })}
      {asTable}
    </div>
  );
}
