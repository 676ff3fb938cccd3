/** `vireo events`: what happened, and why, in the order of time. */
import { findKind } from "../client/discovery.ts";
import { Event } from "../reconcile/kinds.ts";
import { openSession, type Place, parseNames } from "./resources.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

export interface EventsOptions extends Place {
  for?: string;
  watch: boolean;
  warnings: boolean;
  signal: AbortSignal;
}

// What guests and users wrote must not steer the terminal.
const clean = (text: string) => text.replace(/[\p{Cc}\p{Cf}]+/gu, " ");
const seconds = (time: string) => time.slice(0, 19).replace("T", " ");

/** @throws UserError */
export async function events(options: EventsOptions, print: (line: string) => void): Promise<void> {
  const session = await openSession(options);
  const fields = options.warnings ? ["spec.type=Warning"] : [];
  let { namespace } = session;
  if (options.for && !options.for.includes("/") && !findKind(session.kinds, options.for))
    throw new UserError(
      `--for: ${JSON.stringify(options.for)} is not KIND/NAME; for a machine: vm/${options.for}`,
    );
  for (const { kind, name } of options.for ? parseNames(session.kinds, [options.for]) : []) {
    fields.push(`spec.about.kind=${kind.kind}`);
    if (name !== undefined) fields.push(`spec.about.name=${name}`);
    // Events of objects without a namespace are in "default".
    if (!kind.namespaced) namespace = undefined;
  }
  const selection = {
    ...(namespace === undefined ? {} : { namespace }),
    ...(fields.length ? { fieldSelector: fields.join(",") } : {}),
    signal: options.signal,
  };
  const { items, resourceVersion } = await session.client.list(Event, selection);
  let revision = resourceVersion;
  const row = ({ spec, metadata }: Event): string[] => {
    const kind = findKind(session.kinds, spec.about.kind);
    const about = `${kind?.shortNames[0] ?? spec.about.kind.toLowerCase()}/${spec.about.name}`;
    return [
      ...(options.allNamespaces ? [metadata.namespace ?? ""] : []),
      seconds(spec.lastTime),
      spec.count > 1 ? `x${spec.count}` : "",
      spec.type,
      spec.reason,
      about,
      clean(spec.message),
    ];
  };
  items.sort((a, b) => a.spec.lastTime.localeCompare(b.spec.lastTime));
  const header = [
    ...(options.allNamespaces ? ["NAMESPACE"] : []),
    "LAST (UTC)",
    "",
    "TYPE",
    "REASON",
    "OBJECT",
    "MESSAGE",
  ];
  if (items.length > 0) print(table(header, items.map(row)));
  else if (!options.watch) process.stderr.write("no events; they are kept for an hour\n");
  if (!options.watch) return;
  // A watch that the server ends, as it does with each after some time, goes on where it ended.
  while (!options.signal.aborted)
    for await (const change of session.client.watch(Event, { ...selection, resourceVersion: revision })) {
      revision =
        (change.type === "BOOKMARK" ? change.resourceVersion : change.object.metadata.resourceVersion) ??
        revision;
      if (change.type === "ADDED" || change.type === "MODIFIED")
        print(row(change.object).filter(Boolean).join("  "));
    }
}
