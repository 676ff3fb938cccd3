/** `vireo get`: objects as the server's tables, or as they are; and what changes of them. */
import { resourcePath, type ServedKind } from "../client/discovery.ts";
import { isFields } from "../resource/fields.ts";
import { type Output, parseOutput, TABLE, TablePrinter, tableFrom } from "./output.ts";
import {
  asResource,
  itemsOf,
  type Named,
  openSession,
  type Place,
  parseNames,
  pathTo,
  query,
  readNamed,
  type Session,
} from "./resources.ts";
import { UserError } from "./user-error.ts";

export interface GetOptions extends Place {
  output?: string;
  selector?: string;
  fieldSelector?: string;
  headers: boolean;
  showManagedFields?: boolean;
  watch: boolean;
  signal: AbortSignal;
}

/** Objects asked for in one request: a list of many thousands comes in pages. */
const PAGE = "500";

type Print = (text: string) => void;

/** @throws UserError, ApiError */
export async function get(words: readonly string[], options: GetOptions, print: Print): Promise<void> {
  const output = parseOutput(options.output, options);
  const session = await openSession(options);
  const named = parseNames(session.kinds, words);
  const selected = options.selector !== undefined || options.fieldSelector !== undefined;
  if (selected && named.some(({ name }) => name !== undefined))
    throw new UserError(
      "-l and --field-selector choose among all objects of a kind: leave the names out, or them",
    );
  if (options.watch && named.length > 1)
    throw new UserError("-w follows one kind or one object: name only one, or leave -w out");
  if (output.form === "objects") await getObjects(session, named, output, options, print);
  else await getTables(session, named, output, options, print);
}

const selectors = ({ selector, fieldSelector }: GetOptions) => ({ labelSelector: selector, fieldSelector });

async function* pages(session: Session, path: string, options: GetOptions, accept?: string) {
  let next: string | undefined;
  do {
    const page: unknown = await session.client.request({
      method: "GET",
      path: `${path}${query({ ...selectors(options), limit: PAGE, continue: next })}`,
      signal: options.signal,
      ...(accept ? { accept } : {}),
    });
    yield page;
    next = metaOf(page, "continue");
  } while (next);
}

/** A text of a list's or an object's metadata, or "". */
function metaOf(answer: unknown, field: "continue" | "resourceVersion"): string {
  const metadata = isFields(answer) ? answer.metadata : undefined;
  const text = isFields(metadata) ? metadata[field] : undefined;
  return typeof text === "string" ? text : "";
}

async function getObjects(
  session: Session,
  named: readonly Named[],
  output: Extract<Output, { form: "objects" }>,
  options: GetOptions,
  print: Print,
): Promise<void> {
  const objects = [];
  let resourceVersion = "";
  for (const { kind, name } of named) {
    if (name !== undefined) {
      const object = await readNamed(session, { kind, name });
      resourceVersion = object.metadata.resourceVersion ?? "";
      objects.push({ kind, object });
    } else
      for await (const page of pages(session, pathTo(session, { kind }), options)) {
        resourceVersion = metaOf(page, "resourceVersion");
        for (const item of itemsOf(page)) objects.push({ kind, object: withType(kind, item) });
      }
  }
  const [first] = named;
  const one = named.length === 1 && first?.name !== undefined;
  const text = output.print(objects, one);
  // A template says itself where lines end.
  if (text && options.output?.startsWith("jsonpath=")) process.stdout.write(text);
  else if (text) print(text);
  if (!options.watch || !first) return;
  for await (const { type, object } of changes(session, first, resourceVersion, options))
    if (type !== "BOOKMARK") print(output.print([{ kind: first.kind, object: asResource(object) }], true));
}

/** Items of a list come without kind and apiVersion from some servers. */
const withType = (kind: ServedKind, object: ReturnType<typeof asResource>) => ({
  ...object,
  apiVersion: kind.group ? `${kind.group}/${kind.version}` : kind.version,
  kind: kind.kind,
});

async function getTables(
  session: Session,
  named: readonly Named[],
  output: { wide: boolean },
  options: GetOptions,
  print: Print,
): Promise<void> {
  const kinds = [...new Set(named.map(({ kind }) => kind))];
  let printed = 0;
  for (const kind of kinds) {
    const printer = new TablePrinter({
      wide: output.wide,
      namespaces: kind.namespaced && session.namespace === undefined,
      headers: options.headers,
      prefix: kinds.length > 1 ? `${kind.singular}/` : "",
    });
    const ofKind = named.filter((one) => one.kind === kind);
    let resourceVersion = "";
    const show = (answer: unknown) => {
      const table = tableFrom(answer);
      resourceVersion = table.resourceVersion;
      const text = printer.lines(table);
      if (!text) return;
      if (printed > 0 && kinds.length > 1 && table.columns.length > 0 && resourceVersion !== "") print("");
      printed += table.rows.length;
      print(text);
    };
    for (const one of ofKind) {
      if (one.name === undefined) {
        for await (const page of pages(session, pathTo(session, one), options, TABLE)) show(page);
        continue;
      }
      await readNamed(session, { kind, name: one.name });
      show(
        await session.client.request({
          method: "GET",
          path: pathTo(session, one),
          accept: TABLE,
          signal: options.signal,
        }),
      );
    }
    const [only] = ofKind;
    if (options.watch && only)
      for await (const event of changes(session, only, resourceVersion, options, TABLE)) {
        if (event.type === "BOOKMARK") continue;
        const text = printer.lines(tableFrom(event.object));
        if (text) print(event.type === "DELETED" ? `${text}   (deleted)` : text);
      }
  }
  if (printed === 0 && !options.watch)
    process.stderr.write(
      `nothing found${kinds.some((kind) => kind.namespaced) && session.namespace !== undefined ? ` in the namespace ${session.namespace}` : ""}\n`,
    );
}

/** Follows one kind, or one object of it; a watch that the server ends goes on where it ended. */
async function* changes(session: Session, named: Named, from: string, options: GetOptions, accept?: string) {
  const { kind, name } = named;
  let revision = from;
  while (!options.signal.aborted) {
    const chosen = name === undefined ? selectors(options) : { fieldSelector: `metadata.name=${name}` };
    const stream = session.client.stream({
      method: "GET",
      path: `${resourcePath(kind, { namespace: session.namespace })}${query({ ...chosen, watch: "true", allowWatchBookmarks: "true", resourceVersion: revision })}`,
      signal: options.signal,
      ...(accept ? { accept } : {}),
    });
    for await (const event of stream) {
      revision = metaOf(event.object, "resourceVersion") || revision;
      yield event;
    }
  }
}
