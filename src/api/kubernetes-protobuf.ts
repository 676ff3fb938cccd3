/**
 * Bodies in Kubernetes' protobuf form. kubectl sends them since 1.32 for the kinds it has Go types of, and does not fall back to JSON:
 * reviews (`kubectl auth can-i`, `whoami`), namespaces, secrets, quotas, roles and bindings, and DeleteOptions. Own kinds always come
 * as JSON. Field numbers are those of generated.proto of k8s.io/api and k8s.io/apimachinery.
 */
import { isFields } from "../resource/fields.ts";
import { type ProtobufField, readProtobuf } from "./protobuf.ts";

/** A list with one message in it: that message, repeated. */
type Type =
  | "string"
  | "integer"
  | "boolean"
  | "strings"
  | "map"
  | "bytesMap"
  | "quantities"
  | Message
  | readonly [Message];
interface Message {
  [field: number]: readonly [name: string, type: Type];
}

const METADATA: Message = {
  1: ["name", "string"],
  2: ["generateName", "string"],
  3: ["namespace", "string"],
  6: ["resourceVersion", "string"],
  11: ["labels", "map"],
  12: ["annotations", "map"],
  14: ["finalizers", "strings"],
};
const RULE: Message = {
  1: ["verbs", "strings"],
  2: ["apiGroups", "strings"],
  3: ["resources", "strings"],
  4: ["resourceNames", "strings"],
  5: ["nonResourceURLs", "strings"],
};
const ROLE: Message = { 1: ["metadata", METADATA], 2: ["rules", [RULE]] };
const BINDING: Message = {
  1: ["metadata", METADATA],
  2: [
    "subjects",
    [{ 1: ["kind", "string"], 2: ["apiGroup", "string"], 3: ["name", "string"], 4: ["namespace", "string"] }],
  ],
  3: ["roleRef", { 1: ["apiGroup", "string"], 2: ["kind", "string"], 3: ["name", "string"] }],
};
const BODIES: Readonly<Record<string, Message>> = {
  SelfSubjectAccessReview: {
    1: ["metadata", METADATA],
    2: [
      "spec",
      {
        1: [
          "resourceAttributes",
          {
            1: ["namespace", "string"],
            2: ["verb", "string"],
            3: ["group", "string"],
            4: ["version", "string"],
            5: ["resource", "string"],
            6: ["subresource", "string"],
            7: ["name", "string"],
          },
        ],
        2: ["nonResourceAttributes", { 1: ["path", "string"], 2: ["verb", "string"] }],
      },
    ],
  },
  SelfSubjectRulesReview: { 1: ["metadata", METADATA], 2: ["spec", { 1: ["namespace", "string"] }] },
  SelfSubjectReview: { 1: ["metadata", METADATA] },
  Namespace: { 1: ["metadata", METADATA] },
  Secret: {
    1: ["metadata", METADATA],
    2: ["data", "bytesMap"],
    3: ["type", "string"],
    4: ["stringData", "map"],
    5: ["immutable", "boolean"],
  },
  ResourceQuota: {
    1: ["metadata", METADATA],
    2: ["spec", { 1: ["hard", "quantities"], 2: ["scopes", "strings"] }],
  },
  Role: ROLE,
  ClusterRole: ROLE,
  RoleBinding: BINDING,
  ClusterRoleBinding: BINDING,
  DeleteOptions: {
    1: ["gracePeriodSeconds", "integer"],
    2: ["preconditions", { 1: ["uid", "string"], 2: ["resourceVersion", "string"] }],
    3: ["orphanDependents", "boolean"],
    4: ["propagationPolicy", "string"],
    5: ["dryRun", "strings"],
  },
};

function decode(bytes: Buffer, message: Message): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const field of readProtobuf(bytes)) {
    const known = message[field.field];
    if (!known) continue;
    const [name, type] = known;
    const before = result[name];
    if (type === "strings" || isRepeated(type)) {
      const one = type === "strings" ? textOf(field) : decode(field.bytes ?? Buffer.alloc(0), type[0]);
      result[name] = [...(Array.isArray(before) ? before : []), one];
    } else if (type === "bytesMap") {
      const parts = [...readProtobuf(field.bytes ?? Buffer.alloc(0))];
      const at = (number: number) => parts.find((part) => part.field === number)?.bytes ?? Buffer.alloc(0);
      const entry = { [at(1).toString("utf8")]: at(2).toString("base64") };
      result[name] = { ...(typeof before === "object" ? before : {}), ...entry };
    } else if (type === "quantities") {
      const { key, value } = decode(field.bytes ?? Buffer.alloc(0), {
        1: ["key", "string"],
        2: ["value", { 1: ["string", "string"] }],
      });
      const entry = { [String(key)]: isFields(value) ? value.string : "" };
      result[name] = { ...(typeof before === "object" ? before : {}), ...entry };
    } else if (type === "map") {
      const { key, value } = decode(field.bytes ?? Buffer.alloc(0), {
        1: ["key", "string"],
        2: ["value", "string"],
      });
      result[name] = { ...(typeof before === "object" ? before : {}), [String(key)]: value ?? "" };
    } else result[name] = decodeField(field, type);
  }
  return result;
}

const isRepeated = (type: Type): type is readonly [Message] => Array.isArray(type);

const textOf = (field: ProtobufField) => field.bytes?.toString("utf8") ?? "";

function decodeField(field: ProtobufField, type: "string" | "integer" | "boolean" | Message): unknown {
  if (type === "string") return textOf(field);
  if (type === "integer") return field.number ?? 0;
  if (type === "boolean") return field.number === 1;
  return decode(field.bytes ?? Buffer.alloc(0), type);
}

/** The object of a body `k8s\0` + Unknown{typeMeta, raw}, or undefined when it is of a kind that we do not take in this form. */
export function decodeKubernetesProtobuf(body: Buffer): Record<string, unknown> | undefined {
  if (body.subarray(0, 4).toString("latin1") !== "k8s\0") return undefined;
  let typeMeta: Record<string, unknown> = {};
  let raw: Buffer = Buffer.alloc(0);
  for (const field of readProtobuf(body.subarray(4))) {
    if (field.field === 1 && field.bytes)
      typeMeta = decode(field.bytes, { 1: ["apiVersion", "string"], 2: ["kind", "string"] });
    if (field.field === 2 && field.bytes) raw = field.bytes;
  }
  const kind = String(typeMeta.kind);
  const message = Object.hasOwn(BODIES, kind) ? BODIES[kind] : undefined;
  return message && { ...typeMeta, ...decode(raw, message) };
}
