/** Traces in one CSV file: our own, and those of Bitbrains. Pure. */
import { parseBytes } from "../../resource/quantity.ts";
import {
  InputError,
  numberOf,
  onGrid,
  type Reading,
  type Sizes,
  STEP_MS,
  type Trace,
  type TracedMachine,
} from "./trace.ts";

type Row = { where: string; cells: string[] };

function rowsOf(text: string, file: string): { header: string[]; rows: Row[] } {
  const rows = text
    .split("\n")
    .map((line, i) => ({ where: `${file}:${i + 1}`, cells: line.trim().split(",") }))
    .filter(
      ({ cells: [first = "", ...more] }) => (more.length > 0 || first !== "") && !first.startsWith("#"),
    );
  const header = rows.shift();
  if (!header || rows.length === 0) throw new InputError(`${file}: holds no row; ${OWN}`);
  for (const { where, cells } of rows)
    if (cells.length !== header.cells.length)
      throw new InputError(`${where}: ${cells.length} columns, the first line has ${header.cells.length}`);
  return { header: header.cells.map((cell) => cell.trim()), rows };
}

const OWN =
  "its first line is time,machine,cpuPercent,memory, with cpus and app behind if need be (or id,epoch_s,cpu_count,cpu_usage, as of Bitbrains)";

type Known = Omit<TracedMachine, "use"> & { readings: Reading[] };

/** @param meta of Bitbrains: what the machines are declared to have @throws InputError */
export function readCsv(
  text: string,
  file: string,
  sizes: Sizes,
  meta?: { text: string; file: string },
): Trace {
  const { header, rows } = rowsOf(text, file);
  const at = (name: string) => header.indexOf(name);
  const machines = new Map<string, Known>();
  if (at("epoch_s") >= 0) bitbrains(header, rows, file, sizes, machines, meta);
  else own(header, rows, file, sizes, machines);
  return onGrid([...machines.values()]);
}

const columns = (header: readonly string[], file: string, needed: readonly string[]) => {
  const lacking = needed.filter((name) => !header.includes(name));
  if (lacking.length > 0) throw new InputError(`${file}:1: no column ${lacking.join(", ")}; ${OWN}`);
  return (row: Row, name: string): string => row.cells[header.indexOf(name)]?.trim() ?? "";
};

function own(header: string[], rows: Row[], file: string, sizes: Sizes, machines: Map<string, Known>): void {
  const cell = columns(header, file, ["time", "machine", "cpuPercent", "memory"]);
  for (const row of rows) {
    const name = cell(row, "machine");
    if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name))
      throw new InputError(
        `${row.where}: machine: ${JSON.stringify(name)} is no name of a machine (small letters, digits, - and .)`,
      );
    const known = machines.get(name) ?? {
      name,
      labels: cell(row, "app") ? { app: cell(row, "app") } : {},
      cpus: cell(row, "cpus") ? numberOf(cell(row, "cpus"), row.where, "cpus") : sizes.cpus,
      memoryBytes: memoryOf(cell(row, "memory"), row.where),
      readings: [],
    };
    if (!(known.cpus >= 1)) throw new InputError(`${row.where}: cpus: at least 1 is needed`);
    machines.set(name, known);
    const percent = numberOf(cell(row, "cpuPercent"), row.where, "cpuPercent");
    if (percent > 100)
      throw new InputError(`${row.where}: cpuPercent: ${percent} is more than all of its CPUs (100)`);
    known.readings.push({ at: timeOf(cell(row, "time"), row.where), used: (percent / 100) * known.cpus });
  }
}

function timeOf(text: string, where: string): number {
  const at = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (!Number.isFinite(at))
    throw new InputError(
      `${where}: time: ${JSON.stringify(text)} is neither seconds since 1970 nor such as 2026-11-28T12:00:00Z`,
    );
  return at;
}

function memoryOf(text: string, where: string): number {
  try {
    return parseBytes(text);
  } catch (cause) {
    throw new InputError(`${where}: memory: ${cause instanceof Error ? cause.message : text}`, { cause });
  }
}

/** Of the hosts that the trace is of, where nothing else is told. */
const BITBRAINS_MHZ = 2926;
const KiB = 1024;

/** CPU in MHz of all its cores. */
function bitbrains(
  header: string[],
  rows: Row[],
  file: string,
  sizes: Sizes,
  machines: Map<string, Known>,
  meta: { text: string; file: string } | undefined,
): void {
  const cell = columns(header, file, ["id", "epoch_s", "cpu_count", "cpu_usage"]);
  const declared = new Map<string, { mhz: number; memoryBytes: number }>();
  if (meta) {
    const all = rowsOf(meta.text, meta.file);
    const of = columns(all.header, meta.file, ["id", "cpu_count", "cpu_capacity", "mem_capacity"]);
    for (const row of all.rows)
      declared.set(of(row, "id"), {
        mhz:
          numberOf(of(row, "cpu_capacity"), row.where, "cpu_capacity") /
          Math.max(1, numberOf(of(row, "cpu_count"), row.where, "cpu_count")),
        memoryBytes: numberOf(of(row, "mem_capacity"), row.where, "mem_capacity") * KiB,
      });
  }
  for (const row of rows) {
    const id = cell(row, "id");
    const { mhz = BITBRAINS_MHZ, memoryBytes = sizes.memoryBytes } = declared.get(id) ?? {};
    const known = machines.get(id) ?? {
      name: `vm-${id}`,
      labels: {},
      cpus: Math.max(1, numberOf(cell(row, "cpu_count"), row.where, "cpu_count")),
      memoryBytes,
      readings: [],
    };
    machines.set(id, known);
    const seconds = numberOf(cell(row, "epoch_s"), row.where, "epoch_s");
    const used = numberOf(cell(row, "cpu_usage"), row.where, "cpu_usage") / (mhz || BITBRAINS_MHZ);
    known.readings.push({ at: seconds * 1000, used: Math.min(known.cpus, used) });
  }
}

/** The first days of it; what is shorter is repeated. */
export function cut(trace: Trace, days: number): Trace {
  const steps = Math.round((days * 86_400_000) / STEP_MS);
  return {
    ...trace,
    steps,
    machines: trace.machines.map((machine) => ({
      ...machine,
      use: Float32Array.from({ length: steps }, (_, i) => machine.use[i % trace.steps] ?? 0),
    })),
  };
}
