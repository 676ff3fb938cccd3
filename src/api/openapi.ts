/**
 * The OpenAPI documents, v2 and v3. kubectl validates, explains and diffs by them; up to 1.28 it takes only v2, and that only as
 * protobuf (openapi-protobuf.ts).
 */

import type { Kind } from "../resource/kind.ts";
import { DELETE_OPTIONS, definitionName, definitionsOf, type Schema } from "./openapi-schema.ts";
import { SCALE } from "./scale.ts";
import { patchTypes, type Served } from "./served.ts";

type Action = "list" | "post" | "deletecollection" | "get" | "put" | "patch" | "delete";

interface Operation {
  action: Action;
  method: "get" | "post" | "put" | "patch" | "delete";
}

/** Clients look for dryRun and fieldValidation on PATCH before they use them. */
const QUERY: Record<Action, readonly string[]> = {
  list: [
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "timeoutSeconds",
    "fields",
  ],
  get: [],
  post: ["dryRun", "fieldManager", "fieldValidation"],
  put: ["dryRun", "fieldManager", "fieldValidation"],
  patch: ["dryRun", "fieldManager", "fieldValidation", "force"],
  delete: ["dryRun", "propagationPolicy", "gracePeriodSeconds"],
  deletecollection: ["dryRun", "propagationPolicy", "labelSelector", "fieldSelector"],
};
const TYPE_OF_QUERY: Record<string, string> = {
  limit: "integer",
  watch: "boolean",
  force: "boolean",
  allowWatchBookmarks: "boolean",
  sendInitialEvents: "boolean",
  timeoutSeconds: "integer",
  gracePeriodSeconds: "integer",
};
const VERB_OF: Record<Action, string> = {
  list: "list",
  post: "create",
  deletecollection: "deletecollection",
  get: "get",
  put: "update",
  patch: "patch",
  delete: "delete",
};

/** A path with what can be done there; `of` is the kind of object that is there. */
interface Path {
  path: string;
  of: Kind;
  operations: Operation[];
}

function pathsOf(served: Served): Path[] {
  const { kind, verbs } = served;
  const root = kind.group ? `/apis/${kind.group}/${kind.version}` : `/api/${kind.version}`;
  const collection = `${root}${kind.namespaced ? "/namespaces/{namespace}" : ""}/${kind.plural}`;
  const only = (operations: Operation[]) =>
    operations.filter(({ action }) => verbs.includes(VERB_OF[action]));
  const item: Operation[] = [
    { action: "get", method: "get" },
    { action: "put", method: "put" },
    { action: "patch", method: "patch" },
  ];
  const paths = [
    {
      path: collection,
      of: kind,
      operations: only([
        { action: "list", method: "get" },
        { action: "post", method: "post" },
        { action: "deletecollection", method: "delete" },
      ]),
    },
    {
      path: `${collection}/{name}`,
      of: kind,
      operations: only([...item, { action: "delete", method: "delete" }]),
    },
    ...(kind.hasStatus ? [{ path: `${collection}/{name}/status`, of: kind, operations: only(item) }] : []),
    ...(kind.scale ? [{ path: `${collection}/{name}/scale`, of: SCALE, operations: only(item) }] : []),
  ];
  return paths.filter(({ operations }) => operations.length > 0);
}

const gvkOf = ({ of }: Path) => ({ group: of.group, version: of.version, kind: of.kind });
const operationId = ({ kind }: Served, { action }: Operation, path: string) =>
  `${action}${kind.group.replace(/(^|\.)(\w)/g, (_, _dot: string, letter: string) => letter.toUpperCase())}${kind.kind}${/\/status$/.test(path) ? "Status" : /\/scale$/.test(path) ? "Scale" : ""}`;

/** The kinds of which the documents have definitions. */
function kindsOf(all: readonly Served[]): Kind[] {
  const kinds = all.map(({ kind }) => kind);
  return kinds.some(({ scale }) => scale) ? [...kinds, SCALE] : kinds;
}

function schemas({ of }: Path, action: Action, prefix: string): { body?: Schema; answer: Schema } {
  const own: Schema = { $ref: prefix + definitionName(of) };
  const answer = action === "list" ? { $ref: `${prefix}${definitionName(of)}List` } : own;
  if (action === "post" || action === "put") return { body: own, answer };
  if (action === "patch") return { body: { type: "object" }, answer };
  if (action === "delete" || action === "deletecollection")
    return { body: { $ref: prefix + DELETE_OPTIONS }, answer };
  return { answer };
}

export interface OperationV2 {
  description: string;
  operationId: string;
  consumes: readonly string[];
  produces: readonly string[];
  parameters: (
    | { in: "body"; name: string; required: boolean; schema: Schema }
    | { in: "query"; name: string; type: string; uniqueItems: boolean }
    | { in: "path"; name: string; type: string; required: true }
  )[];
  responses: Record<string, { description: string; schema: Schema }>;
  "x-kubernetes-action": string;
  "x-kubernetes-group-version-kind": object;
}

export interface DocumentV2 {
  swagger: "2.0";
  info: { title: string; version: string };
  paths: Record<string, Partial<Record<Operation["method"], OperationV2>>>;
  definitions: Record<string, Schema>;
}

const INFO = { title: "Vireo", version: "v1" };
const pathParameters = (path: string) => [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");

export function openapiV2(all: readonly Served[]): DocumentV2 {
  const prefix = "#/definitions/";
  const paths: DocumentV2["paths"] = {};
  for (const served of all)
    for (const at of pathsOf(served)) {
      const { path, operations } = at;
      const item: Partial<Record<Operation["method"], OperationV2>> = {};
      for (const operation of operations) {
        const { body, answer } = schemas(at, operation.action, prefix);
        item[operation.method] = {
          description: `${VERB_OF[operation.action]} ${served.kind.kind}`,
          operationId: operationId(served, operation, path),
          consumes:
            operation.action === "patch" ? patchTypes(served.kind) : ["application/json", "application/yaml"],
          produces: ["application/json", "application/yaml"],
          parameters: [
            ...pathParameters(path).map((name) => ({
              in: "path" as const,
              name,
              type: "string",
              required: true as const,
            })),
            ...(body
              ? [
                  {
                    in: "body" as const,
                    name: "body",
                    required: !("$ref" in body && operation.method === "delete"),
                    schema: body,
                  },
                ]
              : []),
            ...QUERY[operation.action].map((name) => ({
              in: "query" as const,
              name,
              type: TYPE_OF_QUERY[name] ?? "string",
              uniqueItems: true,
            })),
          ],
          responses: { 200: { description: "OK", schema: answer } },
          "x-kubernetes-action": operation.action,
          "x-kubernetes-group-version-kind": gvkOf(at),
        };
      }
      paths[path] = item;
    }
  return {
    swagger: "2.0",
    info: INFO,
    paths,
    definitions: definitionsOf(kindsOf(all), prefix),
  };
}

/** The document of one group and version. */
export function openapiV3(all: readonly Served[]): object {
  const prefix = "#/components/schemas/";
  const paths: Record<string, Record<string, object>> = {};
  for (const served of all)
    for (const at of pathsOf(served)) {
      const { path, operations } = at;
      paths[path] = Object.fromEntries(
        operations.map((operation) => {
          const { body, answer } = schemas(at, operation.action, prefix);
          const types =
            operation.action === "patch" ? patchTypes(served.kind) : ["application/json", "application/yaml"];
          return [
            operation.method,
            {
              description: `${VERB_OF[operation.action]} ${served.kind.kind}`,
              operationId: operationId(served, operation, path),
              parameters: [
                ...pathParameters(path).map((name) => ({
                  in: "path",
                  name,
                  required: true,
                  schema: { type: "string" },
                })),
                ...QUERY[operation.action].map((name) => ({
                  in: "query",
                  name,
                  schema: { type: TYPE_OF_QUERY[name] ?? "string" },
                })),
              ],
              ...(body
                ? {
                    requestBody: {
                      required: operation.method !== "delete",
                      content: Object.fromEntries(types.map((type) => [type, { schema: body }])),
                    },
                  }
                : {}),
              responses: {
                200: { description: "OK", content: { "application/json": { schema: answer } } },
              },
              "x-kubernetes-action": operation.action,
              "x-kubernetes-group-version-kind": gvkOf(at),
            },
          ];
        }),
      );
    }
  return {
    openapi: "3.0.0",
    info: INFO,
    paths,
    components: {
      schemas: definitionsOf(kindsOf(all), prefix),
    },
  };
}
