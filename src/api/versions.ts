/**
 * Several versions of a kind, served at once and stored in one: what comes in another version is turned into the stored one, and back
 * on its way out. Everything behind this (rules, field ownership, watches, the store) knows the stored version alone; managedFields
 * tell so by their apiVersion.
 *
 *   client ── v1alpha1 ──► decode, defaults, validation in v1alpha1 ── toStored ──► Service in v1
 *          ◄── v1alpha1 ───────────────── fromStored ──────────────────────────────
 */
import { isApiError } from "../resource/errors.ts";
import { type Kind, type KindVersion, versionOf } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { applyDefaults, type Schema, validate } from "../resource/schema.ts";
import { jsonPatch, mergePatch } from "./patch.ts";
import { decode, invalid } from "./prepare.ts";
import { parseFieldSelector } from "./selectors.ts";
import { groupVersion } from "./served.ts";
import type { Service, ServiceEvent, WriteOptions, Written } from "./service.ts";

/** A patch without a precondition that loses a race is tried again on the new state. */
const ATTEMPTS = 10;

interface Version {
  stored: Kind;
  kind: Kind;
  declared: KindVersion;
  /** Stored object -> the same in this version: made once for all who read it. */
  made: WeakMap<Resource, Resource>;
}

/** The kinds as which the other versions are served. */
export function otherVersions(kinds: readonly Kind[]): Version[] {
  return kinds.flatMap((stored) =>
    (stored.versions ?? [])
      .filter(({ served }) => served !== false)
      .map((declared) => ({
        stored,
        kind: versionOf(stored, declared),
        declared,
        made: new WeakMap<Resource, Resource>(),
      })),
  );
}

function outOf({ kind, declared, made }: Version, object: Resource): Resource {
  const kept = made.get(object);
  if (kept) return kept;
  const apiVersion = groupVersion(kind);
  let turned: Resource;
  try {
    turned = { ...declared.fromStored(structuredClone(object)), apiVersion };
  } catch {
    // Not of its kind's shape, and marked as that (resource/invalid.ts): its metadata is what can be told of it.
    turned = { apiVersion, kind: object.kind, metadata: object.metadata };
  }
  made.set(object, turned);
  return turned;
}

const into = ({ stored, declared }: Version, object: Resource): Resource => ({
  ...declared.toStored(structuredClone(object)),
  apiVersion: groupVersion(stored),
});

/** What a client sent in this version, whole and valid, in the stored one. @throws ApiError BadRequest, Invalid */
function accept(version: Version, body: unknown, options: WriteOptions, warnings: string[]): Resource {
  const { kind } = version;
  const object = decode(kind, body, options, warnings);
  // Status is not written so: the stored one stays.
  if (kind.hasStatus && options.subresource !== "status") delete object.status;
  const schema: Schema = kind.schema;
  applyDefaults(object, schema);
  const { metadata, apiVersion: _version, kind: _kind, ...rest } = object;
  const causes = validate(rest, schema);
  if (causes.length > 0) throw invalid(kind, metadata.name, causes);
  return into(version, object);
}

/** What is left to the stored version: our own conversion gives it nothing that it does not know. */
function innerOptions({ duplicateFields: _, ...options }: WriteOptions): WriteOptions {
  return { ...options, fieldValidation: "Strict" };
}

/** The service with the other versions of its kinds added. `versions`: from otherVersions. */
export function withVersions(service: Service, versions: readonly Version[]): Service {
  if (versions.length === 0) return service;
  const of = (kind: Kind) => versions.find((version) => version.kind === kind);
  const written = (version: Version, result: Written, warnings: readonly string[]): Written => ({
    object: outOf(version, result.object),
    created: result.created,
    warnings: [
      ...warnings,
      ...result.warnings,
      ...(version.declared.deprecated
        ? [`${groupVersion(version.kind)} ${version.declared.deprecated}`]
        : []),
    ],
  });
  return {
    kinds: [...service.kinds, ...versions.map(({ kind }) => kind)],
    async get(kind, namespace, name) {
      const version = of(kind);
      if (!version) return service.get(kind, namespace, name);
      return outOf(version, await service.get(version.stored, namespace, name));
    },
    async list(kind, request) {
      const version = of(kind);
      if (!version) return service.list(kind, request);
      parseFieldSelector(request.fieldSelector, kind);
      const result = await service.list(version.stored, request);
      return { ...result, items: result.items.map((object) => outOf(version, object)) };
    },
    async watch(kind, request, onEvent) {
      const version = of(kind);
      if (!version) return service.watch(kind, request, onEvent);
      parseFieldSelector(request.fieldSelector, kind);
      return service.watch(version.stored, request, (event: ServiceEvent) =>
        onEvent(event.type === "BOOKMARK" ? event : { ...event, object: outOf(version, event.object) }),
      );
    },
    async create(kind, namespace, body, options) {
      const version = of(kind);
      if (!version) return service.create(kind, namespace, body, options);
      const warnings: string[] = [];
      const object = accept(version, body, options, warnings);
      return written(
        version,
        await service.create(version.stored, namespace, object, innerOptions(options)),
        warnings,
      );
    },
    async update(kind, namespace, name, body, options) {
      const version = of(kind);
      if (!version) return service.update(kind, namespace, name, body, options);
      const warnings: string[] = [];
      const object = accept(version, body, options, warnings);
      const result = await service.update(version.stored, namespace, name, object, innerOptions(options));
      return written(version, result, warnings);
    },
    async patch(kind, namespace, name, patch, options) {
      const version = of(kind);
      if (!version) return service.patch(kind, namespace, name, patch, options);
      const { stored } = version;
      if (patch.type === "apply") {
        const warnings: string[] = [];
        const body = into(version, decode(kind, patch.body, options, warnings));
        const result = await service.patch(
          stored,
          namespace,
          name,
          { ...patch, body },
          innerOptions(options),
        );
        return written(version, result, warnings);
      }
      const change = patch.type === "merge" ? mergePatch : jsonPatch;
      for (let attempt = 0; ; attempt++) {
        const warnings: string[] = [];
        const current = outOf(version, await service.get(stored, namespace, name));
        const next = accept(version, change(current, patch.body), options, warnings);
        const { resourceVersion } = current.metadata;
        try {
          const result = await service.update(stored, namespace, name, next, innerOptions(options));
          return written(version, result, warnings);
        } catch (error) {
          const lost = isApiError(error, "Conflict") && next.metadata.resourceVersion === resourceVersion;
          if (!lost || attempt >= ATTEMPTS) throw error;
        }
      }
    },
    async delete(kind, namespace, name, request) {
      const version = of(kind);
      if (!version) return service.delete(kind, namespace, name, request);
      const result = await service.delete(version.stored, namespace, name, request);
      return { ...result, object: outOf(version, result.object) };
    },
  };
}
