/** A small chart of the last minutes (uPlot), with its newest value in words beside its name. */
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useDark } from "../src/theme.ts";

export interface Series {
  name: string;
  /** One for each time; null where nothing is known. */
  values: readonly (number | null)[];
  /** A variable of the tokens, "accent". */
  color: string;
}

const BINARY = Array.from({ length: 45 }, (_, i) => 2 ** i);

export function Chart({
  title,
  times,
  series,
  format,
  most,
  bytes,
  why,
}: {
  title: string;
  /** Seconds since 1970. */
  times: readonly number[];
  series: readonly Series[];
  format: (value: number) => string;
  /** Top of the scale at least. */
  most: number;
  /** Its values are bytes: the scale has round ones. */
  bytes?: boolean;
  /** Why there is nothing to be seen. */
  why?: string | undefined;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const dark = useDark();
  const text = useRef(format);
  text.current = format;
  const names = series.map(({ name }) => name).join();
  const last = (values: readonly (number | null)[]) => values.at(-1) ?? null;
  // biome-ignore lint/correctness/useExhaustiveDependencies: made anew for other series or colours only; data comes below
  useEffect(() => {
    const at = place.current;
    if (!at) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      stroke: color("muted"),
      grid: { stroke: color("line"), width: 1 },
      ticks: { show: false },
      font: `11px ${color("font")}`,
    };
    const made = new uPlot(
      {
        width: at.clientWidth || 300,
        height: 120,
        cursor: { show: false },
        legend: { show: false },
        padding: [8, 4, 0, 0],
        scales: {
          // At least a minute: of one value alone there is no scale.
          x: { range: (_plot, low, high) => [Math.min(low ?? 0, (high ?? 0) - 60), high ?? 0] },
          y: { range: (_plot, _low, high) => [0, Math.max(most, (high ?? 0) * 1.1)] },
        },
        axes: [
          {
            ...axis,
            size: 24,
            space: 80,
            values: (_plot, ticks) =>
              ticks.map((tick) =>
                new Date(tick * 1000).toLocaleTimeString([], {
                  hour: "2-digit",
                  minute: "2-digit",
                  second: "2-digit",
                  hourCycle: "h23",
                }),
              ),
          },
          {
            ...axis,
            size: 62,
            space: 30,
            ...(bytes ? { incrs: BINARY } : {}),
            values: (_plot, ticks) => ticks.map((tick) => text.current(tick)),
          },
        ],
        series: [
          {},
          ...series.map(({ name, color: of }, i) => ({
            label: name,
            stroke: color(of),
            width: 1.5,
            // One value alone makes no line.
            points: {
              show: (plot: uPlot) => [...(plot.data[i + 1] ?? [])].filter((one) => one !== null).length < 2,
            },
            ...(i === 0 ? { fill: `color-mix(in srgb, ${color(of)} 14%, transparent)` } : {}),
          })),
        ],
      },
      [[], ...series.map(() => [])],
      at,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: at.clientWidth, height: 120 }));
    observer.observe(at);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [names, dark]);
  useEffect(() => {
    plot.current?.setData([[...times], ...series.map(({ values }) => [...values])] as uPlot.AlignedData);
  });
  return (
    <figure className="chart">
      <figcaption>
        <h2>{title}</h2>
        {series.map(({ name, values, color }) => {
          const value = last(values);
          return (
            <span key={name} className="row">
              {series.length > 1 && <span className="swatch" style={{ background: `var(--${color})` }} />}
              <span className="muted">{name}</span> {value === null ? "–" : format(value)}
            </span>
          );
        })}
      </figcaption>
      <div className="plot">
        <div ref={place} aria-hidden="true" className={why === undefined ? "" : "away"} />
        {why !== undefined && <p className="muted small">{why}</p>}
      </div>
    </figure>
  );
}
