/**
 * The Secret kind, Kubernetes' own (v1), for passwords and keys that other objects name. Sealed in the store (store/sealed.ts), left out of logs and
 * of the audit log, read by nobody whose role does not say so.
 */

import { Type } from "typebox";
import { ApiError, type Cause, forbiddenField, invalidField } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import type { Kind } from "../resource/kind.ts";
import type { Patch, Service } from "./service.ts";

/** Bytes of all data of one Secret together, as in Kubernetes. */
const MAX_DATA = 1_048_576;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Where Secrets lie in the store. */
export const SECRETS_PREFIX = "secrets/";

export const Secret: Kind = {
  group: "",
  version: "v1",
  kind: "Secret",
  plural: "secrets",
  singular: "secret",
  shortNames: [],
  categories: [],
  namespaced: true,
  schema: Type.Object(
    {
      type: Type.Optional(Type.String({ description: "What is in it, for programs.", default: "Opaque" })),
      data: Type.Optional(Type.Record(Type.String(), Type.String(), { description: "Values, in base64." })),
      stringData: Type.Optional(
        Type.Record(Type.String(), Type.String(), {
          description: "Values as they are; only for writing: they become part of data.",
        }),
      ),
      immutable: Type.Optional(Type.Boolean({ description: "Once true, nothing in it can be changed." })),
    },
    { description: "Secret holds passwords, keys and the like." },
  ),
  hasStatus: false,
  columns: [
    { name: "Type", type: "string", jsonPath: ".type" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
  selectableFields: ["type"],
  check: (object, old) => {
    const [data, before] = [dataOf(object), old && dataOf(old)];
    // Values are never part of a message.
    const causes: Cause[] = Object.entries(data).flatMap(([key, value]) => [
      ...(/^[-._a-zA-Z0-9]{1,253}$/.test(key)
        ? []
        : [invalidField(`data[${key.slice(0, 50)}]`, "a key consists of letters, digits, '-', '_' and '.'")]),
      ...(BASE64.test(value)
        ? []
        : [invalidField(`data[${key}]`, "is not base64; write plain text under stringData")]),
    ]);
    if (Object.values(data).reduce((sum, value) => sum + value.length, 0) > (MAX_DATA * 4) / 3)
      causes.push({
        field: "data",
        reason: "FieldValueTooLong",
        message: `Too long: all values together may have ${MAX_DATA} bytes`,
      });
    if (old && Reflect.get(old, "immutable") === true) {
      const same =
        JSON.stringify(data) === JSON.stringify(before) && Reflect.get(object, "immutable") === true;
      if (!same) causes.push(forbiddenField("data", "field is immutable when `immutable` is set"));
    }
    return causes;
  },
};

const dataOf = (object: object): Record<string, string> => {
  const data: unknown = Reflect.get(object, "data");
  return isFields(data) ? Object.fromEntries(Object.entries(data).map(([k, v]) => [k, String(v)])) : {};
};

/** The body with stringData turned into data. */
function withoutStringData(body: unknown): unknown {
  if (!isFields(body) || !isFields(body.stringData)) return body;
  const { stringData, ...rest } = body;
  const coded = Object.entries(stringData).map(([key, value]) => [
    key,
    // In a patch, null takes the key away.
    typeof value === "string" ? Buffer.from(value).toString("base64") : value,
  ]);
  return { ...rest, data: { ...(isFields(body.data) ? body.data : {}), ...Object.fromEntries(coded) } };
}

/** The service, which takes stringData of Secrets. */
export function withSecrets(service: Service): Service {
  const isSecret = (kind: Kind) => kind.group === "" && kind.plural === Secret.plural;
  const patched = (patch: Patch): Patch => {
    if (patch.type === "json") {
      const paths = Array.isArray(patch.body)
        ? patch.body.filter(isFields).map(({ path }) => String(path))
        : [];
      if (paths.some((path) => path.startsWith("/stringData")))
        throw new ApiError(
          "BadRequest",
          "stringData: cannot be written by a JSON patch; write data, in base64",
        );
      return patch;
    }
    return { ...patch, body: withoutStringData(patch.body) };
  };
  return {
    kinds: service.kinds,
    get: (...all) => service.get(...all),
    list: (...all) => service.list(...all),
    watch: (...all) => service.watch(...all),
    delete: (...all) => service.delete(...all),
    create: (kind, namespace, body, options) =>
      service.create(kind, namespace, isSecret(kind) ? withoutStringData(body) : body, options),
    update: (kind, namespace, name, body, options) =>
      service.update(kind, namespace, name, isSecret(kind) ? withoutStringData(body) : body, options),
    patch: (kind, namespace, name, patch, options) =>
      service.patch(kind, namespace, name, isSecret(kind) ? patched(patch) : patch, options),
  };
}

/** What kubectl calls a strategic merge patch of a core kind, as a merge patch: its directives (`$…`) say how to merge lists, of which there are none. */
export function withoutDirectives(patch: unknown): unknown {
  if (Array.isArray(patch)) return patch.map(withoutDirectives);
  if (!isFields(patch)) return patch;
  const kept = Object.entries(patch).filter(([key]) => !key.startsWith("$"));
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutDirectives(value)]));
}
