/** The estate as a map: sites, racks, hosts as tiles, machines in them. */
import { type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import { Badge, Meter, size } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icons.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import {
  bytesOf,
  type HostLoad,
  hostState,
  hostTone,
  isOver,
  loadOf,
  phaseOf,
  plainColor,
  policiesOf,
  policyColors,
  toneOf,
} from "../data/derive.ts";
import { machineFilter, withKey } from "../data/filter.ts";
import { type Host, keyOf, type Migration, type Policy, type VirtualMachine } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { layOut } from "../estate/layout.ts";
import { type Hit, type Look, MapView, type PieceLook, type Scene, type TileLook } from "../estate/view.ts";
import { navigate, useParam } from "../router.tsx";
import { useDark } from "../theme.ts";
import { MachineState } from "./machines.tsx";

/** The colours of the page, which the canvas cannot take from CSS by itself. */
function lookOf(): Look {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: of("ground"),
    surface: of("surface"),
    line: of("line"),
    lineStrong: of("line-strong"),
    text: of("text"),
    muted: of("muted"),
    accent: of("accent"),
    warn: of("warn"),
    track: of("idle-ground"),
    font: of("font"),
  };
}

interface Parts {
  hosts: readonly Host[];
  machines: readonly VirtualMachine[];
  policies: readonly Policy[];
  migrations: readonly Migration[];
  loads: ReadonlyMap<string, HostLoad>;
  filter: string;
  dark: boolean;
  ratio: number;
}

function sceneOf({ hosts, machines, policies, migrations, loads, filter, dark, ratio }: Parts): Scene {
  const look = lookOf();
  const test = machineFilter(filter);
  const isFiltered = filter.trim() !== "";
  const colors = policyColors(policies, dark);
  const pieces = new Map<string, PieceLook>();
  const matched = new Set<string>();
  for (const vm of machines) {
    const own = policiesOf(vm, policies);
    const meets = test(vm, own);
    if (meets && vm.status?.host) matched.add(vm.status.host);
    pieces.set(keyOf(vm), {
      color: colors.get(own[0]?.metadata.name ?? "") ?? plainColor(dark),
      label: vm.metadata.name,
      dim: !meets,
      busy: toneOf(phaseOf(vm))[1],
    });
  }
  const tones: Record<string, string> = {
    ok: "--ok",
    warn: "--warn",
    info: "--info",
    idle: "--muted",
    bad: "--bad",
  };
  const style = getComputedStyle(document.documentElement);
  const tiles = new Map<string, TileLook>();
  for (const host of hosts) {
    const { name } = host.metadata;
    const load = loads.get(name);
    const state = hostState(host);
    const capacity = host.status?.capacity;
    tiles.set(name, {
      title: name,
      state,
      stateColor: style.getPropertyValue(tones[hostTone(state)] ?? "--muted").trim(),
      cpu: (load?.cpus ?? 0) / Math.max(1, capacity?.cpus ?? 1),
      memory: (load?.memoryBytes ?? 0) / Math.max(1, bytesOf(capacity?.memory)),
      watts: load?.watts === undefined ? "" : `${Math.round(load.watts)} W`,
      dim: isFiltered && !matched.has(name),
    });
  }
  const layout = layOut(
    hosts.map((host) => ({
      name: host.metadata.name,
      site: host.spec.site ?? "",
      rack: host.spec.rack ?? "",
      memoryBytes: bytesOf(host.status?.capacity?.memory),
      machines: (loads.get(host.metadata.name)?.machines ?? []).map((vm) => ({
        key: keyOf(vm),
        memoryBytes: bytesOf(vm.spec.memory),
      })),
    })),
    ratio,
  );
  const moves = migrations.flatMap(({ metadata, spec, status }) =>
    status?.from && spec.to && ["Preparing", "Running"].includes(status.phase ?? "")
      ? [{ key: `${metadata.namespace}/${spec.vm}`, from: status.from, to: spec.to }]
      : [],
  );
  return { layout, tiles, pieces, moves, look };
}

export default function Estate() {
  const hosts = useLive("hosts");
  const machines = useLive("virtualmachines");
  const policies = useLive("policies");
  const migrations = useLive("migrations");
  const [filter, setFilter] = useParam("q");
  const loads = useMemo(() => loadOf(hosts.list, machines.list), [hosts.list, machines.list]);
  const all = [...loads.values()];
  const sum = (of: (load: HostLoad) => number) => all.reduce((total, load) => total + of(load), 0);
  const capacity = hosts.list.reduce((total, { status }) => total + bytesOf(status?.capacity?.memory), 0);
  const moving = migrations.list.filter((migration) => !isOver(migration)).length;
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
      <Ready of={[hosts, machines]} what="the estate">
        {() =>
          hosts.list.length === 0 ? (
            <Empty title="No hosts yet">
              <p>A host appears here when its agent enrols at this control plane.</p>
            </Empty>
          ) : (
            <>
              <div className="figures">
                <Figure value={String(hosts.list.length)} name={hosts.list.length === 1 ? "host" : "hosts"} />
                <Figure value={String(sum((load) => load.machines.length))} name="machines that run" />
                <Figure
                  value={size(sum((load) => load.memoryBytes))}
                  name={`memory given out of ${size(capacity)}`}
                />
                <Figure value={sum((load) => load.usedCpus).toFixed(1)} name="CPUs in use" />
                <Figure
                  value={`${Math.round(sum((load) => load.watts ?? 0))} W`}
                  name="by the hosts' power figures"
                />
                <Figure value={String(moving)} name={moving === 1 ? "move under way" : "moves under way"} />
              </div>
              <EstateMap
                {...{ filter, loads }}
                hosts={hosts.list}
                machines={machines.list}
                policies={policies.list}
                migrations={migrations.list}
              />
              <Legend policies={policies.list} filter={filter} setFilter={setFilter} />
            </>
          )
        }
      </Ready>
    </>
  );
}

export function Figure({ value, name }: { value: string; name: string }) {
  return (
    <div className="figure">
      <b>{value}</b>
      <span>{name}</span>
    </div>
  );
}

function EstateMap(parts: Omit<Parts, "dark" | "ratio">) {
  const { hosts, machines, policies, migrations, loads, filter } = parts;
  const canvas = useRef<HTMLCanvasElement>(null);
  const view = useRef<MapView>(undefined);
  const dark = useDark();
  const [hover, setHover] = useState<{ hit: Hit; x: number; y: number }>({ hit: {}, x: 0, y: 0 });
  const [host, setHost] = useState<string>();
  const help = useId();
  const said = useId();
  useEffect(() => {
    const made = canvas.current && new MapView(canvas.current);
    if (!made) return;
    view.current = made;
    made.onHover = (hit, x, y) => setHover({ hit, x, y });
    made.onOpen = (hit) => {
      if (hit.machine) navigate(`/machines/${hit.machine}`);
      else if (hit.host) navigate(`/hosts/${hit.host}`);
    };
    return () => made.close();
  }, []);
  const scene = useMemo(() => {
    const ratio = canvas.current
      ? canvas.current.clientWidth / Math.max(1, canvas.current.clientHeight)
      : 1.8;
    return sceneOf({ hosts, machines, policies, migrations, loads, filter, dark, ratio });
  }, [hosts, machines, policies, migrations, loads, filter, dark]);
  useEffect(() => view.current?.show(scene), [scene]);
  useEffect(() => view.current?.select(host), [host]);
  const keys = (event: KeyboardEvent) => {
    const arrows: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const arrow = arrows[event.key];
    if (arrow) setHost((from) => view.current?.neighbour(from, ...arrow));
    else if (event.key === "Enter" && host) navigate(`/hosts/${host}`);
    else if (event.key === "+" || event.key === "=") view.current?.zoomBy(1.3);
    else if (event.key === "-") view.current?.zoomBy(1 / 1.3);
    else if (event.key === "0") view.current?.fit();
    else return;
    event.preventDefault();
  };
  const shown = hover.hit.host ?? undefined;
  return (
    <div className="map">
      <div
        className="map-keys"
        role="application"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys go from host to host
        tabIndex={0}
        aria-label="Map of the hosts"
        aria-describedby={`${help} ${said}`}
        onKeyDown={keys}
      >
        <canvas ref={canvas} />
      </div>
      <p id={help} className="unseen">
        Arrow keys go from host to host, Enter opens one, plus and minus zoom, 0 shows all. The page Hosts has
        the same as a table.
      </p>
      <p id={said} className="unseen" aria-live="polite">
        {host &&
          spoken(
            hosts.find(({ metadata }) => metadata.name === host),
            loads.get(host),
          )}
      </p>
      <div className="map-zoom">
        <button
          type="button"
          className="button icon"
          aria-label="Zoom in"
          onClick={() => view.current?.zoomBy(1.4)}
        >
          +
        </button>
        <button
          type="button"
          className="button icon"
          aria-label="Zoom out"
          onClick={() => view.current?.zoomBy(1 / 1.4)}
        >
          −
        </button>
        <button type="button" className="button" onClick={() => view.current?.fit()}>
          Fit
        </button>
      </div>
      {shown && (
        <MapCard
          x={hover.x}
          y={hover.y}
          right={hover.x > (canvas.current?.clientWidth ?? 0) / 2}
          host={hosts.find(({ metadata }) => metadata.name === shown)}
          load={loads.get(shown)}
          vm={hover.hit.machine ? machines.find((vm) => keyOf(vm) === hover.hit.machine) : undefined}
          policies={policies}
        />
      )}
    </div>
  );
}

const spoken = (host: Host | undefined, load: HostLoad | undefined): string =>
  host
    ? `${host.metadata.name}, ${hostState(host)}: ${load?.machines.length ?? 0} machines, ${load?.cpus ?? 0} of ${host.status?.capacity?.cpus ?? 0} CPUs, ${size(load?.memoryBytes)} of ${size(bytesOf(host.status?.capacity?.memory))} memory given out`
    : "";

function MapCard({
  x,
  y,
  right,
  host,
  load,
  vm,
  policies,
}: {
  x: number;
  y: number;
  right: boolean;
  host: Host | undefined;
  load: HostLoad | undefined;
  vm: VirtualMachine | undefined;
  policies: readonly Policy[];
}) {
  if (!host || !load) return null;
  const capacity = host.status?.capacity;
  const memory = bytesOf(capacity?.memory);
  return (
    <div
      className="map-card"
      aria-hidden="true"
      style={{ top: y + 14, ...(right ? { right: `calc(100% - ${x - 14}px)` } : { left: x + 14 }) }}
    >
      {vm ? (
        <>
          <strong>{vm.metadata.name}</strong> <MachineState vm={vm} />
          <div className="muted">
            {vm.spec.cpus} CPUs, {size(bytesOf(vm.spec.memory))}
            {vm.status?.usage && `, uses ${vm.status.usage.cpus.toFixed(2)} CPUs`}
          </div>
          <div>
            {policiesOf(vm, policies)
              .map(({ metadata }) => metadata.name)
              .join(", ") || "no policy"}
          </div>
          {vm.status?.why && <div className="muted">{vm.status.why}</div>}
        </>
      ) : (
        <>
          <strong>{host.metadata.name}</strong>{" "}
          <Badge tone={hostTone(hostState(host))}>{hostState(host)}</Badge>
          <div className="muted cut">{host.status?.facts?.cpu.model}</div>
          <Meter
            label="CPUs given out"
            value={load.cpus / Math.max(1, capacity?.cpus ?? 1)}
            text={`${load.cpus} of ${capacity?.cpus ?? 0} CPUs`}
          />
          <Meter
            label="Memory given out"
            value={load.memoryBytes / Math.max(1, memory)}
            text={`${size(load.memoryBytes)} of ${size(memory)}`}
          />
          <div className="muted">
            In use: {load.usedCpus.toFixed(1)} CPUs, disks {size(load.diskBytesPerSecond)}/s, network{" "}
            {size(load.networkBytesPerSecond)}/s
          </div>
        </>
      )}
    </div>
  );
}

function Legend({
  policies,
  filter,
  setFilter,
}: {
  policies: readonly Policy[];
  filter: string;
  setFilter: (text: string) => void;
}) {
  const dark = useDark();
  const colors = policyColors(policies, dark);
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
            {name ?? "no policy"}
          </button>
        );
      })}
      <button type="button" className="button quiet" onClick={() => navigate("/hosts")}>
        <Icon name="hosts" /> As a table
      </button>
    </div>
  );
}
