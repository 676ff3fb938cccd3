/**
 * Our Events as the core group's, read-only: `kubectl describe` and `kubectl events` look nowhere else, and there they show people
 * why something happened. Nothing is stored twice: lists and watches of these are lists and watches of ours, turned on the way.
 */
import { Type } from "typebox";
import { API_VERSION, GROUP, type Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { READ_VERBS, type Served } from "./served.ts";
import type { ListRequest, Service, WatchRequest } from "./service.ts";
import { valueAt } from "./table.ts";

const Free = Type.Object({}, { "x-kubernetes-preserve-unknown-fields": true });
const text = Type.Optional(Type.String());

const CoreEvent: Kind = {
  group: "",
  version: "v1",
  kind: "Event",
  plural: "events",
  singular: "event",
  shortNames: ["ev"],
  categories: [],
  namespaced: true,
  schema: Type.Object(
    {
      involvedObject: Free,
      type: text,
      reason: text,
      message: text,
      count: Type.Optional(Type.Integer()),
      firstTimestamp: text,
      lastTimestamp: text,
      source: Type.Optional(Free),
    },
    { description: `Event of ${GROUP} in the form that Kubernetes clients know. Read-only.` },
  ),
  hasStatus: false,
  columns: [
    { name: "Last Seen", type: "date", jsonPath: ".lastTimestamp" },
    { name: "Type", type: "string", jsonPath: ".type" },
    { name: "Reason", type: "string", jsonPath: ".reason" },
    { name: "Object", type: "string", jsonPath: ".involvedObject.name" },
    { name: "Message", type: "string", jsonPath: ".message" },
  ],
  selectableFields: [],
};

export const CORE_EVENTS: Served = { kind: CoreEvent, verbs: READ_VERBS };

/** Field labels of core events in ours; all our kinds are of one group, so its label chooses nothing. */
const FIELDS: readonly (readonly [RegExp, string])[] = [
  [/^involvedObject\.(kind|name|namespace|uid)(?=[=!])/, "spec.about.$1"],
  [/^(type|reason)(?=[=!])/, "spec.$1"],
];

function translate<T extends ListRequest | WatchRequest>(request: T): T {
  if (!request.fieldSelector) return request;
  const terms = request.fieldSelector
    .split(",")
    .filter((term) => !term.startsWith("involvedObject.apiVersion="))
    .map((term) => FIELDS.reduce((result, [from, to]) => result.replace(from, to), term));
  return { ...request, fieldSelector: terms.join(",") };
}

const turned = new WeakMap<Resource, Resource>();

function turn(event: Resource): Resource {
  const kept = turned.get(event);
  if (kept) return kept;
  const at = (path: string) => valueAt(event, path);
  // Clients in Go refuse the whole list for one time that is none.
  const time = (path: string) => (Number.isNaN(Date.parse(String(at(path)))) ? null : at(path));
  const host = at(".spec.host");
  const made: Resource & Record<string, unknown> = {
    apiVersion: "v1",
    kind: "Event",
    metadata: event.metadata,
    involvedObject: { apiVersion: API_VERSION, ...Object(at(".spec.about")) },
    type: at(".spec.type"),
    reason: at(".spec.reason"),
    message: at(".spec.message"),
    count: at(".spec.count"),
    firstTimestamp: time(".spec.firstTime"),
    lastTimestamp: time(".spec.lastTime"),
    source: { component: at(".spec.reporter"), ...(host === undefined ? {} : { host }) },
  };
  turned.set(event, made);
  return made;
}

/** The service with core events added, when it has events at all. */
export function withCoreEvents(service: Service): Service {
  const own = service.kinds.find((kind) => kind.group === GROUP && kind.kind === "Event");
  if (!own) return service;
  return {
    kinds: [...service.kinds, CoreEvent],
    get: async (kind, namespace, name) =>
      kind === CoreEvent ? turn(await service.get(own, namespace, name)) : service.get(kind, namespace, name),
    async list(kind, request) {
      if (kind !== CoreEvent) return service.list(kind, request);
      const result = await service.list(own, translate(request));
      return { ...result, items: result.items.map(turn) };
    },
    watch: (kind, request, onEvent) =>
      kind === CoreEvent
        ? service.watch(own, translate(request), (event) =>
            onEvent(event.type === "BOOKMARK" ? event : { ...event, object: turn(event.object) }),
          )
        : service.watch(kind, request, onEvent),
    // Writes of core events do not come here: their verbs say that they are read-only.
    create: (...all) => service.create(...all),
    update: (...all) => service.update(...all),
    patch: (...all) => service.patch(...all),
    delete: (...all) => service.delete(...all),
  };
}
