/** The map's scene, of what the API tells. */
import { tariffsOf } from "../../../src/director/estate/tariffs.ts";
import { size } from "../../ui/basics.tsx";
import {
  bytesOf,
  cpuShare,
  type HostLoad,
  hostState,
  hostTone,
  memoryShare,
  plainColor,
  policiesOf,
  policyColors,
} from "../data/derive.ts";
import { machineFilter } from "../data/filter.ts";
import {
  type HostBrief,
  keyOf,
  type Machine,
  type Migration,
  type Policy,
  type Site,
} from "../data/kinds.ts";
import { layOut } from "./layout.ts";
import type { Look, Move, PieceLook, Scene, TileLook } from "./scene.ts";

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

export interface Parts {
  hosts: readonly HostBrief[];
  machines: readonly Machine[];
  policies: readonly Policy[];
  sites: readonly Site[];
  loads: ReadonlyMap<string, HostLoad>;
  filter: string;
  dark: boolean;
  ratio: number;
}

/** A scene with what the next one takes from it. */
export interface MadeScene extends Scene {
  /**
   * How machines look for these policies, this filter and these colours. Of 40,000 machines few are other objects than in the scene before, and to work out
   * how all the others look takes twice as long as all the rest.
   */
  made: Pick<Parts, "policies" | "filter" | "dark"> & { looks: WeakMap<Machine, PieceLook> };
}

/** @param before what was shown last: what looks as it did there is taken from it, so that a few changes of very many machines are a few pieces and tiles */
export function sceneOf(parts: Parts, before?: MadeScene): MadeScene {
  const { hosts, machines, policies, loads, filter, dark, ratio } = parts;
  const look = lookOf();
  const test = machineFilter(filter);
  const isFiltered = filter.trim() !== "";
  const colors = policyColors(policies, dark);
  const was = before?.made;
  const isForSame = was?.policies === policies && was.filter === filter && was.dark === dark;
  const made = was && isForSame ? was : { policies, filter, dark, looks: new WeakMap() };
  const lookOfMachine = (vm: Machine): PieceLook => {
    const found = made.looks.get(vm);
    if (found) return found;
    const own = policiesOf(vm, policies);
    const next: PieceLook = {
      key: keyOf(vm),
      memoryBytes: bytesOf(vm.spec.memory),
      color: colors.get(own[0]?.metadata.name ?? "") ?? plainColor(dark),
      label: vm.metadata.name,
      dim: !test(vm, own),
    };
    const last = before?.pieces.get(next.key);
    const piece = last && isSame(last, next) ? last : next;
    made.looks.set(vm, piece);
    return piece;
  };
  const pieces = new Map<string, PieceLook>();
  const matched = new Set<string>();
  for (const vm of machines) {
    const piece = lookOfMachine(vm);
    if (!piece.dim && vm.status?.host) matched.add(vm.status.host);
    pieces.set(piece.key, piece);
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
    tiles.set(name, {
      title: name,
      state,
      stateColor: style.getPropertyValue(tones[hostTone(state)] ?? "--muted").trim(),
      cpu: load ? cpuShare(load) : 0,
      memory: load ? memoryShare(load) : 0,
      traffic: load
        ? `Disk ${size(Math.round(load.diskBytesPerSecond))}/s, net ${size(Math.round(load.networkBytesPerSecond))}/s`
        : "",
      watts: load?.watts === undefined ? "" : `${Math.round(load.watts)} W`,
      dim: isFiltered && !matched.has(name),
    });
  }
  const layout = layOut(
    hosts.map((host) => ({
      name: host.metadata.name,
      site: host.spec.site ?? "",
      rack: host.spec.rack ?? "",
      memoryBytes: loads.get(host.metadata.name)?.allMemoryBytes ?? 0,
      machines: (loads.get(host.metadata.name)?.machines ?? []).map(lookOfMachine),
    })),
    ratio,
    before?.layout,
  );
  return { layout, tiles, pieces, sites: siteLines(parts), look, made };
}

const isSame = (a: PieceLook, b: PieceLook): boolean =>
  a.key === b.key &&
  a.memoryBytes === b.memoryBytes &&
  a.color === b.color &&
  a.label === b.label &&
  a.dim === b.dim;

/** The moves that are under way. */
export const movesOf = (migrations: readonly Migration[]): Move[] =>
  migrations.flatMap(({ metadata, spec, status }) =>
    status?.from && spec.to && ["Preparing", "Running"].includes(status.phase ?? "")
      ? [{ key: `${metadata.namespace}/${spec.vm}`, from: status.from, to: spec.to }]
      : [],
  );

/** "12 hosts, 3.1 kW, 0.31 per kWh, 210 g CO2 per kWh": by the name of each site */
export function siteLines({
  hosts,
  loads,
  sites,
}: Pick<Parts, "hosts" | "loads" | "sites">): ReadonlyMap<string, string> {
  const tariffs = tariffsOf(sites, Date.now());
  const lines = [...Map.groupBy(hosts, ({ spec }) => spec.site ?? "")].map(([site, inSite]) => {
    const watts = inSite.reduce((sum, { metadata }) => sum + (loads.get(metadata.name)?.watts ?? 0), 0);
    const { pue = 1, price, carbon } = tariffs.get(site) ?? {};
    const line = [
      inSite.length === 1 ? "1 host" : `${inSite.length} hosts`,
      watts > 0 && wattsText(watts * pue) + (pue > 1 ? " with cooling" : ""),
      price !== undefined && `${price} per kWh`,
      carbon !== undefined && `${carbon} g CO2 per kWh`,
    ];
    return [site || "no site", line.filter(Boolean).join(", ")] as const;
  });
  return new Map(lines);
}

/** "312 W", "3.1 kW" */
export const wattsText = (watts: number): string =>
  watts < 1000 ? `${Math.round(watts)} W` : `${(watts / 1000).toPrecision(watts < 100_000 ? 2 : 3)} kW`;
