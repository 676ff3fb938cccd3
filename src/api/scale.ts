/**
 * The subresource `scale`: how many of something an object wants, in the form that all kinds share (autoscaling/v1 Scale), so that
 * `kubectl scale` and autoscalers need not know the kind. Which fields of a kind it stands for, the kind says (`Kind.scale`).
 */
import { Type } from "typebox";
import { invalidValue, isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { nameMismatch } from "./overwrite.ts";
import { jsonPatch, mergePatch } from "./patch.ts";
import { decode, invalid } from "./prepare.ts";
import type { Service, WriteOptions, Written } from "./service.ts";
import { valueAt } from "./table.ts";

export const SCALE: Kind = {
  group: "autoscaling",
  version: "v1",
  kind: "Scale",
  plural: "scales",
  singular: "scale",
  shortNames: [],
  categories: [],
  namespaced: true,
  schema: Type.Object(
    {
      spec: Type.Object({ replicas: Type.Integer({ minimum: 0, description: "How many are wanted." }) }),
      status: Type.Optional(
        Type.Object({
          replicas: Type.Integer({ description: "How many there are." }),
          selector: Type.Optional(Type.String({ description: "Chooses them by their labels." })),
        }),
      ),
    },
    { description: "Scale is how many of something an object wants." },
  ),
  hasStatus: false,
  columns: [
    { name: "Desired", type: "integer", jsonPath: ".spec.replicas" },
    { name: "Available", type: "integer", jsonPath: ".status.replicas" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
  selectableFields: [],
};

/** A write without a precondition that loses a race is tried again. */
const ATTEMPTS = 5;

interface Subject {
  service: Service;
  kind: Kind;
  namespace: string | undefined;
  name: string;
}

/** The scale of an object of a kind that has one. */
export function scaleOf(kind: Kind, object: Resource): Resource {
  const { replicas, statusReplicas, selector } = kind.scale ?? { replicas: "", statusReplicas: "" };
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const chosen = selector && valueAt(object, selector);
  return {
    apiVersion: "autoscaling/v1",
    kind: "Scale",
    metadata: {
      name,
      ...(namespace ? { namespace } : {}),
      ...(uid ? { uid } : {}),
      ...(resourceVersion ? { resourceVersion } : {}),
      ...(creationTimestamp ? { creationTimestamp } : {}),
    },
    spec: { replicas: valueAt(object, replicas) ?? 0 },
    status: {
      replicas: valueAt(object, statusReplicas) ?? 0,
      ...(typeof chosen === "string" ? { selector: chosen } : {}),
    },
  };
}

/** PUT of a scale. @throws ApiError */
export function updateScale(subject: Subject, body: unknown, options: WriteOptions): Promise<Written> {
  return change(subject, () => body, options);
}

/** PATCH of a scale. @throws ApiError */
export function patchScale(
  subject: Subject,
  patch: { type: "merge" | "json"; body: unknown },
  options: WriteOptions,
): Promise<Written> {
  const apply = patch.type === "merge" ? mergePatch : jsonPatch;
  return change(subject, (scale) => apply(scale, patch.body), options);
}

async function change(
  { service, kind, namespace, name }: Subject,
  make: (scale: Resource) => unknown,
  options: WriteOptions,
): Promise<Written> {
  for (let attempt = 0; ; attempt++) {
    const current = await service.get(kind, namespace, name);
    const warnings: string[] = [];
    const next = decode(SCALE, make(scaleOf(kind, current)), options, warnings);
    if (next.metadata.name !== name) throw nameMismatch(next.metadata.name, name);
    const wanted = valueAt(next, ".spec.replicas");
    if (typeof wanted !== "number" || !Number.isSafeInteger(wanted) || wanted < 0)
      throw invalid(SCALE, name, [
        invalidValue("spec.replicas", wanted, "must be a whole number, 0 or more"),
      ]);
    const { uid } = current.metadata;
    // The client's resourceVersion, if it gives one; the one that was read just now otherwise.
    const resourceVersion = next.metadata.resourceVersion || current.metadata.resourceVersion;
    const body = mergePatch(
      { metadata: { uid, resourceVersion } },
      nested(kind.scale?.replicas ?? "", wanted),
    );
    try {
      const patch = { type: "merge", body } as const;
      const written = await service.patch(kind, namespace, name, patch, { ...options, subresource: "scale" });
      return { object: scaleOf(kind, written.object), warnings, created: false };
    } catch (error) {
      const lost = isApiError(error, "Conflict") && resourceVersion === current.metadata.resourceVersion;
      if (!lost || attempt >= ATTEMPTS) throw error;
      // Without a precondition of its own, the client's write is tried again on the new state; with one, that state refuses it.
    }
  }
}

/** {"spec": {"replicas": 3}} of ".spec.replicas" and 3. */
function nested(path: string, value: unknown): unknown {
  return path
    .split(".")
    .filter(Boolean)
    .reduceRight<unknown>((inner, field) => ({ [field]: inner }), value);
}
