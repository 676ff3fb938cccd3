/** What the agent of a host sees: of instances of other hosts not what their guests are told or told to do, and say; passwords and keys among it. */
import { isFields } from "../resource/fields.ts";
import type { Resource } from "../resource/object.ts";
import type { Service } from "./service.ts";

/** Reads of instances through the service; the writes are as they were. */
export function asSeenBy(host: string, service: Service): Service {
  const seen = <T extends Resource>(object: T): T => {
    const { spec, status } = object;
    if (!isFields(spec) || spec.host === host) return object;
    const told = isFields(status) ? status : {};
    if (spec.guest === undefined && spec.guestTask === undefined && told.guestTask === undefined)
      return object;
    const { guest: _, guestTask: __, ...ofSpec } = spec;
    const { guestTask: ___, ...ofStatus } = told;
    return { ...object, spec: ofSpec, ...(isFields(status) ? { status: ofStatus } : {}) };
  };
  return {
    kinds: service.kinds,
    get: async (...all) => seen(await service.get(...all)),
    async list(...all) {
      const result = await service.list(...all);
      return { ...result, items: result.items.map(seen) };
    },
    watch: (kind, request, onEvent) =>
      service.watch(kind, request, (event) =>
        onEvent(event.type === "BOOKMARK" ? event : { ...event, object: seen(event.object) }),
      ),
    create: (...all) => service.create(...all),
    update: (...all) => service.update(...all),
    patch: (...all) => service.patch(...all),
    delete: (...all) => service.delete(...all),
  };
}
