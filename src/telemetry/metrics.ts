/**
 * Prometheus metrics of this process. Each room declares its own beside what they measure; names follow Prometheus' conventions: prefix `vireo_`,
 * base units (seconds, bytes), `_total` for counters. Labels have few values: never names of objects or users.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export const registry = new Registry();

type Labels = Record<string, string>;

export const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
  new Counter({ name, help, labelNames, registers: [registry] });

export const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
  new Gauge({ name, help, labelNames, registers: [registry] });

/** Of durations in seconds, from 1 ms to half a minute. */
export const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
  new Histogram({
    name,
    help,
    labelNames,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30],
    registers: [registry],
  });

/** What a gauge is made of when it is read: values by their labels; the same labels of several sources are added up. */
type Source = () => Iterable<readonly [Labels, number]>;

/** A gauge that is worked out when it is read. @returns adds a source, until the function that it returns is called */
export const readGauge = (name: string, help: string, labelNames: readonly string[] = []) =>
  readMetric(Gauge, name, help, labelNames);

/** The same of what only counts up, by somebody else. */
export const readCounter = (name: string, help: string, labelNames: readonly string[]) =>
  readMetric(Counter, name, help, labelNames);

function readMetric(
  Metric: typeof Gauge | typeof Counter,
  name: string,
  help: string,
  labelNames: readonly string[],
): (source: Source) => () => void {
  const sources = new Set<Source>();
  new Metric({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      // Without labels `reset` makes it 0, which is said only by somebody who knows.
      if (sources.size === 0 && labelNames.length === 0) this.remove();
      for (const source of sources) for (const [labels, value] of source()) this.inc(labels, value);
    },
  });
  return (source) => {
    sources.add(source);
    return () => void sources.delete(source);
  };
}

/** Counts how many there are of each, for a source of one label. */
export function countBy<T>(
  label: string,
  items: Iterable<T>,
  of: (item: T) => string,
): (readonly [Labels, number])[] {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(of(item), (counts.get(of(item)) ?? 0) + 1);
  return [...counts].map(([value, count]) => [{ [label]: value }, count]);
}

/** What Node tells of the process: processor time, memory, file descriptors, lag of the event loop, garbage collection. */
export function collectProcessMetrics(): void {
  collectDefaultMetrics({ register: registry });
  // Their names say that they count up, which they do not.
  for (const name of ["handles", "requests", "resources"])
    registry.removeSingleMetric(`nodejs_active_${name}_total`);
}

/** All, in Prometheus' text format. */
export async function exposition(): Promise<{ contentType: string; text: string }> {
  return { contentType: registry.contentType, text: await registry.metrics() };
}
