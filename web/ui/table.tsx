/** A table over any number of rows: sorted by its heads, rows chosen by boxes, only what is in sight drawn. */
import {
  type ColumnDef,
  createSortedRowModel,
  rowSelectionFeature,
  rowSortingFeature,
  type SortingState,
  sortFn_basic,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useMemo, useRef, useState } from "react";
import { Icon } from "./icons.tsx";

const features = tableFeatures({
  rowSortingFeature,
  rowSelectionFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { basic: sortFn_basic },
});
type Features = typeof features;

export interface TableColumn<T> {
  id: string;
  head: string;
  /** What it is sorted by. */
  value: (row: T) => string | number;
  cell: (row: T) => ReactNode;
  numeric?: boolean;
  /** Left out on narrow screens. */
  wideOnly?: boolean;
  /** Its text may take more than one line. */
  wraps?: boolean;
}

export interface Selection {
  chosen: ReadonlySet<string>;
  set: (chosen: ReadonlySet<string>) => void;
}

const { compare } = new Intl.Collator("en", { numeric: true });
/** "web-2" before "web-10". */
const byText = (a: { getValue: (id: string) => unknown }, b: typeof a, id: string) =>
  compare(String(a.getValue(id)), String(b.getValue(id)));

const VIRTUAL_FROM = 120;

export function DataTable<T>({
  label,
  rows,
  idOf,
  columns,
  sortBy,
  selection,
  empty,
}: {
  label: string;
  rows: readonly T[];
  idOf: (row: T) => string;
  columns: readonly TableColumn<T>[];
  /** Column, with "-" before it: the other way round. */
  sortBy: string;
  selection?: Selection;
  empty?: ReactNode;
}) {
  const [sorting, setSorting] = useState<SortingState>([
    { id: sortBy.replace(/^-/, ""), desc: sortBy.startsWith("-") },
  ]);
  const defs = useMemo(
    (): ColumnDef<Features, T & object>[] =>
      columns.map((column) => ({
        id: column.id,
        header: column.head,
        accessorFn: column.value,
        sortFn: column.numeric ? ("basic" as const) : byText,
        cell: ({ row }) => column.cell(row.original),
      })),
    [columns],
  );
  const data = useMemo(() => [...rows] as (T & object)[], [rows]);
  const chosen = selection?.chosen;
  const rowSelection = useMemo(
    () => Object.fromEntries([...(chosen ?? [])].map((id) => [id, true as const])),
    [chosen],
  );
  const table = useTable({
    features,
    columns: defs,
    data,
    getRowId: (row) => idOf(row),
    state: { sorting, rowSelection },
    onSortingChange: setSorting,
    onRowSelectionChange: (update) => {
      const next = typeof update === "function" ? update(rowSelection) : update;
      selection?.set(new Set(Object.keys(next).filter((id) => next[id])));
    },
    enableSortingRemoval: false,
  });
  const all = table.getRowModel().rows;
  const wrap = useRef<HTMLElement>(null);
  const isVirtual = all.length > VIRTUAL_FROM;
  const virtual = useVirtualizer({
    count: all.length,
    getScrollElement: () => wrap.current,
    estimateSize: () => 34,
    overscan: 12,
    enabled: isVirtual,
  });
  const inSight = isVirtual ? virtual.getVirtualItems().map(({ index }) => all[index]) : all;
  const items = virtual.getVirtualItems();
  const before = isVirtual ? (items[0]?.start ?? 0) : 0;
  const after = isVirtual ? virtual.getTotalSize() - (items.at(-1)?.end ?? 0) : 0;
  const columnOf = new Map(columns.map((column) => [column.id, column]));
  const classOf = (id: string) => {
    const { numeric, wideOnly, wraps } = columnOf.get(id) ?? {};
    return `${numeric ? "num " : ""}${wideOnly ? "wide-only " : ""}${wraps ? "wrap" : ""}`;
  };
  if (rows.length === 0 && empty) return <div className="table-wrap">{empty}</div>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard has to reach it
    <section className="table-wrap" ref={wrap} tabIndex={0} aria-label={label}>
      <table aria-rowcount={all.length + 1}>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {selection && (
                <th className="check">
                  <input
                    type="checkbox"
                    aria-label="Choose all"
                    checked={table.getIsAllRowsSelected()}
                    ref={(box) => {
                      if (box)
                        box.indeterminate = table.getIsSomeRowsSelected() && !table.getIsAllRowsSelected();
                    }}
                    onChange={table.getToggleAllRowsSelectedHandler()}
                  />
                </th>
              )}
              {group.headers.map((header) => {
                const sorted = header.column.getIsSorted();
                return (
                  <th
                    key={header.id}
                    className={classOf(header.column.id)}
                    aria-sort={sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : "none"}
                  >
                    <button type="button" onClick={header.column.getToggleSortingHandler()}>
                      <table.FlexRender header={header} />
                      {sorted && <Icon name={sorted === "asc" ? "up" : "down"} />}
                    </button>
                  </th>
                );
              })}
            </tr>
          ))}
        </thead>
        <tbody>
          {before > 0 && <tr style={{ height: before }} />}
          {inSight.map(
            (row) =>
              row && (
                <tr
                  key={row.id}
                  aria-rowindex={row.index + 2}
                  aria-selected={selection ? row.getIsSelected() : undefined}
                >
                  {selection && (
                    <td className="check">
                      <input
                        type="checkbox"
                        aria-label={`Choose ${row.id}`}
                        checked={row.getIsSelected()}
                        onChange={row.getToggleSelectedHandler()}
                      />
                    </td>
                  )}
                  {row.getAllCells().map((cell) => (
                    <td key={cell.id} className={classOf(cell.column.id)}>
                      <table.FlexRender cell={cell} />
                    </td>
                  ))}
                </tr>
              ),
          )}
          {after > 0 && <tr style={{ height: after }} />}
        </tbody>
      </table>
    </section>
  );
}
