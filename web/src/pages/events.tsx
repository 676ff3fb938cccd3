/** What happened, newest first: of everything, or of one object. */
import { useMemo } from "react";
import { Ago, Badge } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { DataTable, type TableColumn } from "../../ui/table.tsx";
import { type Event, keyOf } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import { Link } from "../router.tsx";

const PAGES: Readonly<Record<string, (about: Event["spec"]["about"]) => string>> = {
  VirtualMachine: ({ namespace, name }) => `/machines/${namespace}/${name}`,
  Host: ({ name }) => `/hosts/${name}`,
  Plan: ({ name }) => `/director/plans/${name}`,
  Policy: ({ namespace, name }) => `/director/policies/${namespace}/${name}`,
  Image: ({ name }) => `/images/${name}`,
};

export function About({ about }: { about: Event["spec"]["about"] }) {
  const text = `${about.kind} ${about.name}`;
  const page = PAGES[about.kind]?.(about);
  return page ? <Link href={page}>{text}</Link> : text;
}

const COLUMNS: readonly TableColumn<Event>[] = [
  {
    id: "last",
    head: "Ago",
    numeric: true,
    value: ({ spec }) => -Date.parse(spec.lastTime),
    cell: ({ spec }) => <Ago time={spec.lastTime} />,
  },
  {
    id: "reason",
    head: "Reason",
    value: ({ spec }) => spec.reason,
    cell: ({ spec }) => <Badge tone={spec.type === "Warning" ? "warn" : "idle"}>{spec.reason}</Badge>,
  },
  {
    id: "about",
    head: "About",
    value: ({ spec }) => `${spec.about.kind} ${spec.about.name}`,
    cell: ({ spec }) => <About about={spec.about} />,
  },
  {
    id: "message",
    head: "What happened",
    wraps: true,
    value: ({ spec }) => spec.message,
    cell: ({ spec }) => (
      <>
        {spec.message}
        {spec.count > 1 && <span className="muted"> ({spec.count} times)</span>}
      </>
    ),
  },
];

export function EventTable({
  kind,
  name,
  namespace,
}: {
  kind?: string;
  name?: string;
  namespace?: string | undefined;
}) {
  const events = useLive("events");
  const rows = useMemo(
    () =>
      events.list.filter(
        ({ spec: { about } }) =>
          kind === undefined ||
          (about.kind === kind &&
            about.name === name &&
            (namespace === undefined || about.namespace === namespace)),
      ),
    [events.list, kind, name, namespace],
  );
  return (
    <Ready of={[events]} what="the events">
      {() => (
        <DataTable
          label="Events"
          rows={rows}
          idOf={keyOf}
          columns={kind === undefined ? COLUMNS : COLUMNS.filter(({ id }) => id !== "about")}
          sortBy="last"
          empty={
            <Empty title="No events">
              <p>Events are kept for an hour.</p>
            </Empty>
          }
        />
      )}
    </Ready>
  );
}
