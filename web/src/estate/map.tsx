/** The map in its page: keys, buttons, and a card about what is under the pointer. */
import {
  type KeyboardEvent,
  type RefObject,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { Badge, Meter, size } from "../../ui/basics.tsx";
import {
  bytesOf,
  cpuShare,
  type HostLoad,
  hostState,
  hostTone,
  memoryShare,
  policiesOf,
} from "../data/derive.ts";
import type { HostBrief, Machine, Migration, Policy } from "../data/kinds.ts";
import type { Items } from "../data/live.ts";
import { MachineState } from "../pages/machines.tsx";
import { navigate } from "../router.tsx";
import { useDark } from "../theme.ts";
import { followPointer } from "./gestures.ts";
import { shapeOf } from "./layout.ts";
import { type MadeScene, movesOf, type Parts, sceneOf } from "./scene-of.ts";
import { type Hit, MapView } from "./view.ts";

export function EstateMap({
  hostsByName,
  machinesByKey,
  migrations,
  hidesPolicies,
  ...parts
}: Omit<Parts, "dark" | "ratio"> & {
  hostsByName: Items<HostBrief>;
  machinesByKey: Items<Machine>;
  migrations: readonly Migration[];
  hidesPolicies: boolean;
}) {
  const { hosts, machines, policies, sites, loads, filter } = parts;
  const canvas = useRef<HTMLCanvasElement>(null);
  const view = useRef<MapView>(undefined);
  /** The one that is shown. */
  const last = useRef<MadeScene>(undefined);
  const ratio = useShape(canvas);
  const dark = useDark();
  const [hover, setHover] = useState<{ hit: Hit; x: number; y: number }>({ hit: {}, x: 0, y: 0 });
  const [host, setHost] = useState<string>();
  const help = useId();
  const said = useId();
  useEffect(() => {
    const made = canvas.current && new MapView(canvas.current);
    if (!made) return;
    view.current = made;
    const stop = followPointer(made.canvas, made, {
      onHover: (hit, x, y) => setHover({ hit, x, y }),
      onOpen: (hit) => {
        if (hit.machine) navigate(`/machines/${hit.machine}`);
        else if (hit.host) navigate(`/hosts/${hit.host}`);
      },
    });
    return () => {
      stop();
      made.close();
    };
  }, []);
  const scene = useMemo(
    () => ratio && sceneOf({ hosts, machines, policies, sites, loads, filter, dark, ratio }, last.current),
    [hosts, machines, policies, sites, loads, filter, dark, ratio],
  );
  useEffect(() => {
    if (!scene) return;
    last.current = scene;
    view.current?.show(scene);
  }, [scene]);
  useEffect(() => view.current?.follow(movesOf(migrations)), [migrations]);
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
        {host && spoken(hostsByName.get(host), loads.get(host))}
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
          host={hostsByName.get(shown)}
          load={loads.get(shown)}
          vm={hover.hit.machine ? machinesByKey.get(hover.hit.machine) : undefined}
          policies={policies}
          hidesPolicies={hidesPolicies}
        />
      )}
    </div>
  );
}

/** The shape of an element as it is on the page; before it is there, undefined. */
function useShape(ref: RefObject<HTMLElement | null>): number | undefined {
  const [shape, setShape] = useState<number>();
  // Before anything is seen, so that the first picture has its place already.
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const look = () => setShape((before) => shapeOf(element.clientWidth, element.clientHeight) ?? before);
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref]);
  return shape;
}

const spoken = (host: HostBrief | undefined, load: HostLoad | undefined): string =>
  host
    ? `${host.metadata.name}, ${hostState(host)}: ${load?.machines.length ?? 0} machines, ${load?.cpus ?? 0} of ${load?.allCpus ?? 0} CPUs, ${size(load?.memoryBytes)} of ${size(load?.allMemoryBytes)} memory given out`
    : "";

/** What is said of a machine without one: who may not list policies sees none. */
export const noPolicy = (isHidden: boolean): string =>
  isHidden ? "policies are not shown to you" : "no policy";

function MapCard({
  x,
  y,
  right,
  host,
  load,
  vm,
  policies,
  hidesPolicies,
}: {
  x: number;
  y: number;
  right: boolean;
  host: HostBrief | undefined;
  load: HostLoad | undefined;
  vm: Machine | undefined;
  policies: readonly Policy[];
  hidesPolicies: boolean;
}) {
  if (!host || !load) return null;
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
              .join(", ") || noPolicy(hidesPolicies)}
          </div>
        </>
      ) : (
        <>
          <strong>{host.metadata.name}</strong>{" "}
          <Badge tone={hostTone(hostState(host))}>{hostState(host)}</Badge>
          <div className="muted cut">{host.status?.facts?.cpu.model}</div>
          <Meter
            label="CPUs given out"
            value={cpuShare(load)}
            text={`${load.cpus} of ${load.allCpus} CPUs`}
          />
          <Meter
            label="Memory given out"
            value={memoryShare(load)}
            text={`${size(load.memoryBytes)} of ${size(load.allMemoryBytes)}`}
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
