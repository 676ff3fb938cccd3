/** Objects and lists as answers, in the form that the client asked for. */
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { shown } from "../telemetry/request-id.ts";
import { ChosenFields } from "./chosen-fields.ts";
import { type Exchange, jsonOf, send, sendValue } from "./exchange.ts";
import { type Media, negotiate } from "./media.ts";
import { groupVersion } from "./served.ts";
import type { Written } from "./service.ts";
import { type IncludeObject, partialOf, tableOf } from "./table.ts";

interface Destination {
  exchange: Exchange;
  kind: Kind;
}

export function includeOf(exchange: Exchange): IncludeObject {
  const value = exchange.query.get("includeObject");
  return value === "None" || value === "Object" ? value : "Metadata";
}

export async function sendObject(
  { exchange, kind }: Destination,
  code: number,
  found: Resource,
  warnings: readonly string[] = [],
): Promise<void> {
  const media = negotiate(exchange.request.headers.accept, ["Table", "PartialObjectMetadata"]);
  if (!media.as && !media.yaml) return send(exchange, code, jsonOf(kind, found), { warnings });
  const object = shown(kind, found);
  if (media.as === "Table") {
    const { resourceVersion } = object.metadata;
    const options = { metadata: { resourceVersion }, version: media.version, include: includeOf(exchange) };
    return sendValue(exchange, code, tableOf(kind, [object], options), { warnings });
  }
  if (media.as) return sendValue(exchange, code, partialOf(object, media.version), { warnings });
  return sendValue(exchange, code, object, { warnings, yaml: true });
}

export function sendWritten(to: Destination, written: Written): Promise<void> {
  return sendObject(to, written.created ? 201 : 200, written.object, written.warnings);
}

/** The parts are the objects' cached texts: a list of ten thousand is put together, not made. */
export function listBytes(
  kind: Kind,
  metadata: object,
  items: readonly Resource[],
  textOf: (kind: Kind, item: Resource) => Buffer = jsonOf,
): Buffer {
  const parts: Buffer[] = [
    Buffer.from(
      `{"kind":"${kind.kind}List","apiVersion":"${groupVersion(kind)}","metadata":${JSON.stringify(metadata)},"items":[`,
    ),
  ];
  const comma = Buffer.from(",");
  items.forEach((item, index) => {
    if (index > 0) parts.push(comma);
    parts.push(textOf(kind, item));
  });
  parts.push(Buffer.from("]}\n"));
  return Buffer.concat(parts);
}

export async function sendList(
  { exchange, kind }: Destination,
  media: Media,
  metadata: object,
  found: readonly Resource[],
): Promise<void> {
  if (!media.as && !media.yaml) {
    const chosen = ChosenFields.of(exchange.query);
    const textOf = chosen && ((...of: Parameters<typeof jsonOf>) => chosen.jsonOf(...of));
    return send(exchange, 200, listBytes(kind, metadata, found, textOf));
  }
  const items = found.map((item) => shown(kind, item));
  if (media.as === "Table")
    return sendValue(
      exchange,
      200,
      tableOf(kind, items, { metadata, version: media.version, include: includeOf(exchange) }),
    );
  if (media.as)
    return sendValue(exchange, 200, {
      kind: "PartialObjectMetadataList",
      apiVersion: `meta.k8s.io/${media.version}`,
      metadata,
      items: items.map((item) => partialOf(item, media.version)),
    });
  return sendValue(
    exchange,
    200,
    { kind: `${kind.kind}List`, apiVersion: groupVersion(kind), metadata, items },
    { yaml: true },
  );
}
