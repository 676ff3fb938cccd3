/**
 * Kinds that are not stored: the CustomResourceDefinitions that describe our own kinds, and the reviews by which
 * clients ask who they are and what they may do. kubectl, k9s and Terraform ask for them; nobody can write them.
 */
import { createHash } from "node:crypto";
import { Type } from "typebox";
import { ApiError } from "../resource/errors.ts";
import { GROUP, type Kind } from "../resource/kind.ts";
import { type Resource, timestamp } from "../resource/object.ts";
import { notFound } from "./not-found.ts";
import { structural } from "./openapi-schema.ts";
import { parseFieldSelector, parseLabelSelector } from "./selectors.ts";
import { READ_VERBS, type Served } from "./served.ts";
import type { ListRequest, ListResult, Service, ServiceEvent, WatchRequest } from "./service.ts";

const Free = Type.Object({}, { "x-kubernetes-preserve-unknown-fields": true });

function kindOf(
  group: string,
  kind: string,
  plural: string,
  more: Partial<Kind> & { description: string },
): Kind {
  const { description, ...rest } = more;
  return {
    group,
    version: "v1",
    kind,
    plural,
    singular: kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: false,
    schema: Type.Object({ spec: Type.Optional(Free), status: Type.Optional(Free) }, { description }),
    hasStatus: false,
    columns: [],
    selectableFields: [],
    ...rest,
  };
}

const CustomResourceDefinition = kindOf(
  "apiextensions.k8s.io",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  {
    description: "CustomResourceDefinition describes a kind that this server has. Read-only.",
    shortNames: ["crd", "crds"],
    columns: [{ name: "Created At", type: "string", jsonPath: ".metadata.creationTimestamp" }],
  },
);

export const REVIEWS = {
  access: kindOf("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", {
    description: "SelfSubjectAccessReview asks whether one may do something.",
  }),
  rules: kindOf("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews", {
    description: "SelfSubjectRulesReview asks what one may do.",
  }),
  subject: kindOf("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", {
    description: "SelfSubjectReview asks who one is.",
  }),
} as const;

export const SYNTHETIC: readonly Served[] = [
  { kind: CustomResourceDefinition, verbs: READ_VERBS },
  ...Object.values(REVIEWS).map((kind) => ({ kind, verbs: ["create"] })),
];

/** A uid that is the same after every start. */
function uidOf(name: string): string {
  const hash = createHash("sha256").update(`vireo ${name}`).digest("hex");
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-4${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}

function definitionOf(kind: Kind, since: string): Resource {
  const names = {
    kind: kind.kind,
    listKind: `${kind.kind}List`,
    plural: kind.plural,
    singular: kind.singular,
    shortNames: kind.shortNames,
    categories: kind.categories,
  };
  const condition = (type: string, reason: string) => ({
    type,
    status: "True",
    reason,
    message: "part of the server",
    lastTransitionTime: since,
  });
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: metadataOf(`${kind.plural}.${kind.group}`, since),
    spec: {
      group: kind.group,
      scope: kind.namespaced ? "Namespaced" : "Cluster",
      names,
      conversion: { strategy: "None" },
      versions: [
        {
          name: kind.version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: structural(kind.schema) },
          subresources: {
            ...(kind.hasStatus ? { status: {} } : {}),
            ...(kind.scale
              ? {
                  scale: {
                    specReplicasPath: kind.scale.replicas,
                    statusReplicasPath: kind.scale.statusReplicas,
                    ...(kind.scale.selector ? { labelSelectorPath: kind.scale.selector } : {}),
                  },
                }
              : {}),
          },
          additionalPrinterColumns: kind.columns,
        },
        ...(kind.versions ?? []).map(({ version, served, schema, columns, deprecated }) => ({
          name: version,
          served: served !== false,
          storage: false,
          ...(deprecated ? { deprecated: true } : {}),
          schema: { openAPIV3Schema: structural(schema) },
          subresources: kind.hasStatus ? { status: {} } : {},
          additionalPrinterColumns: columns ?? kind.columns,
        })),
      ],
    },
    status: {
      conditions: [
        condition("Established", "InitialNamesAccepted"),
        condition("NamesAccepted", "NoConflicts"),
      ],
      acceptedNames: names,
      storedVersions: [kind.version],
    },
  };
}

function metadataOf(name: string, since: string) {
  return { name, uid: uidOf(name), resourceVersion: "1", creationTimestamp: since };
}

/** The service with the synthetic kinds added: the handlers need not know that some kinds are not stored. */
export function withSynthetic(service: Service, now = new Date()): Service {
  const since = timestamp(now);
  const objects = new Map<Kind, readonly Resource[]>([
    [
      CustomResourceDefinition,
      service.kinds.filter(({ group }) => group === GROUP).map((kind) => definitionOf(kind, since)),
    ],
  ]);
  const readOnly = (kind: Kind) =>
    new ApiError("MethodNotAllowed", `${kind.plural} are read-only: the server makes them itself`, {
      group: kind.group,
      kind: kind.plural,
    });
  const listed = (kind: Kind, request: ListRequest | WatchRequest) => {
    const byLabels = parseLabelSelector(request.labelSelector);
    const byFields = parseFieldSelector(request.fieldSelector, kind);
    return (objects.get(kind) ?? []).filter(
      (object) =>
        (request.name === undefined || request.name === object.metadata.name) &&
        (!byLabels || byLabels(object)) &&
        (!byFields || byFields(object)),
    );
  };

  return {
    kinds: [...service.kinds, ...SYNTHETIC.map((served) => served.kind)],
    async get(kind, namespace, name) {
      const own = objects.get(kind);
      if (!own) return service.get(kind, namespace, name);
      const found = own.find((object) => object.metadata.name === name);
      if (found) return found;
      throw notFound(kind, name);
    },
    async list(kind, request): Promise<ListResult> {
      if (!objects.has(kind)) return service.list(kind, request);
      return { items: listed(kind, request), resourceVersion: "1" };
    },
    async watch(kind, request, onEvent: (event: ServiceEvent) => void) {
      if (!objects.has(kind)) return service.watch(kind, request, onEvent);
      if (request.sendInitialEvents || request.resourceVersion === "" || request.resourceVersion === "0")
        for (const object of listed(kind, request)) onEvent({ type: "ADDED", object });
      if (request.sendInitialEvents)
        onEvent({ type: "BOOKMARK", resourceVersion: "1", initialEventsEnd: true });
      return () => {};
    },
    async create(kind, ...rest) {
      if (objects.has(kind)) throw readOnly(kind);
      return service.create(kind, ...rest);
    },
    async update(kind, ...rest) {
      if (objects.has(kind)) throw readOnly(kind);
      return service.update(kind, ...rest);
    },
    async patch(kind, ...rest) {
      if (objects.has(kind)) throw readOnly(kind);
      return service.patch(kind, ...rest);
    },
    async delete(kind, ...rest) {
      if (objects.has(kind)) throw readOnly(kind);
      return service.delete(kind, ...rest);
    },
  };
}
