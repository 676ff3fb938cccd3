/**
 * One id for all work that one request causes, across processes. The API server gives each request an id (or takes the client's), and keeps
 * it with the object whose wanted state the request changes (the annotation REQUEST_ID); reconcilers and agents work on an object under its
 * id: their log lines have it, and their own requests carry it on, to the objects that they make. `grep ID` over all logs is the story.
 *
 * Clients see the annotation only with objects that Vireo makes (plans, instances). To tools that keep what users declare (Terraform's
 * kubernetes_manifest), an annotation that changes with each write is a change that nobody asked for.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";

/** Annotation: the request that last changed what is wanted of the object. */
export const REQUEST_ID = "vireo.dev/request-id";

const FORM = /^[\w.-]{1,64}$/;
/** W3C Trace Context, "traceparent": version 00, trace, span, flags. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

const current = new AsyncLocalStorage<string | undefined>();

/** The id under which this code runs; undefined: nobody asked for it. */
export const currentRequest = (): string | undefined => current.getStore();

/** Runs the work, and all that it awaits, under this id; undefined: under none. */
export const inRequest = <T>(id: string | undefined, work: () => T): T => current.run(id, work);

/** A new id, in the form of a W3C trace id. */
export const newRequestId = (): string => randomUUID().replaceAll("-", "");

/** The id that the object was changed under. */
export function requestOf(object: Resource | undefined): string | undefined {
  const id = object?.metadata.annotations?.[REQUEST_ID];
  return id !== undefined && FORM.test(id) ? id : undefined;
}

/** The object (anew, or itself when it is so) with the id of this request; undefined: with none. */
export function withRequest<T extends Resource>(object: T, id: string | undefined): T {
  const { annotations, ...metadata } = object.metadata;
  if (annotations?.[REQUEST_ID] === id) return object;
  const { [REQUEST_ID]: _, ...others } = annotations ?? {};
  const next = id === undefined ? others : { ...others, [REQUEST_ID]: id };
  return {
    ...object,
    metadata: Object.keys(next).length > 0 ? { ...metadata, annotations: next } : metadata,
  };
}

/** The object as clients see it. */
export const shown = <T extends Resource>({ madeByVireo }: Pick<Kind, "madeByVireo">, object: T): T =>
  madeByVireo ? object : withRequest(object, undefined);

/** The id of a request by its headers: X-Request-Id, or the trace of `traceparent`, or a new one when there is none that is well-formed. */
export function requestIdFrom(headers: Readonly<Record<string, string | string[] | undefined>>): string {
  const given = headers["x-request-id"];
  if (typeof given === "string" && FORM.test(given)) return given;
  const parent = headers.traceparent;
  return (typeof parent === "string" ? TRACEPARENT.exec(parent)?.[1] : undefined) ?? newRequestId();
}
