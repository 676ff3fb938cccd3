/** What the server answers, checked and turned into types: the client's border. */

import { ApiError, type Cause, REASON_CODES, type Reason, type StatusDetails } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { invalidity } from "../resource/invalid.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import type { List, WatchEvent } from "./client.ts";

export function isResource(value: unknown): value is Resource {
  return isFields(value) && isFields(value.metadata) && typeof value.metadata.name === "string";
}

const text = (value: unknown) => (typeof value === "string" ? value : undefined);

function wrong(kind: { kind: string }, what: string): ApiError {
  return new ApiError("InternalError", `the server's answer is not ${what} of kind ${kind.kind}`);
}

/**
 * What a typed client makes of an object: itself, or an error when it is marked as not of its kind's shape. Lists and watches leave
 * such ones out (`isSound`). @throws ApiError Invalid
 */
export function sound<T extends Resource>(kind: { kind: string }, object: T): T {
  const why = invalidity(object);
  if (why === undefined) return object;
  const { name } = object.metadata;
  throw new ApiError("Invalid", `${kind.kind} "${name}" is skipped until it is mended or deleted: ${why}`, {
    name,
    kind: kind.kind,
  });
}

export const isSound = (object: Resource) => invalidity(object) === undefined;

/** A marked object is gone for typed clients. */
export function soundEvent<T extends Resource>(
  type: "ADDED" | "MODIFIED" | "DELETED",
  object: T,
): { type: "ADDED" | "MODIFIED" | "DELETED"; object: T } {
  return { type: isSound(object) ? type : "DELETED", object };
}

/** The server has validated the object against the kind's schema when it was written: T follows from the kind. */
export function resourceFromAnswer<T extends Resource>(kind: Kind<T>, answer: unknown): T {
  if (!isResource(answer) || (answer.kind !== undefined && answer.kind !== kind.kind))
    throw wrong(kind, "an object");
  return answer as T;
}

export function listFromAnswer<T extends Resource>(kind: Kind<T>, answer: unknown): List<T> {
  if (!isFields(answer) || !Array.isArray(answer.items) || !isFields(answer.metadata))
    throw wrong(kind, "a list");
  const all = answer.items.map((item: unknown) => resourceFromAnswer(kind, item));
  return {
    items: all.filter(isSound),
    skipped: all.filter((object) => !isSound(object)).map(({ metadata }) => metadata),
    resourceVersion: text(answer.metadata.resourceVersion) ?? "",
  };
}

export function watchEventFrom<T extends Resource>(kind: Kind<T>, line: string): WatchEvent<T> {
  const event: unknown = JSON.parse(line);
  if (!isFields(event)) throw wrong(kind, "a watch event");
  switch (event.type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return soundEvent(event.type, resourceFromAnswer(kind, event.object));
    case "BOOKMARK": {
      const metadata = isFields(event.object) ? event.object.metadata : undefined;
      return {
        type: "BOOKMARK",
        resourceVersion: (isFields(metadata) && text(metadata.resourceVersion)) || "",
      };
    }
    case "ERROR":
      throw errorFromStatus(event.object, 500);
    default:
      throw wrong(kind, "a watch event");
  }
}

/** A watch event in whatever form was asked for. @throws ApiError of an ERROR event */
export function rawEventFrom(line: string): { type: string; object: unknown } {
  const event: unknown = JSON.parse(line);
  if (!isFields(event) || typeof event.type !== "string")
    throw new ApiError("InternalError", "the server's answer is not a watch event");
  if (event.type === "ERROR") throw errorFromStatus(event.object, 500);
  return { type: event.type, object: event.object };
}

function isReason(value: unknown): value is Reason {
  return typeof value === "string" && Object.hasOwn(REASON_CODES, value);
}

function detailsFrom(value: unknown): StatusDetails {
  if (!isFields(value)) return {};
  const details: StatusDetails = {};
  for (const key of ["name", "group", "kind", "uid"] as const) {
    const found = text(value[key]);
    if (found !== undefined) details[key] = found;
  }
  if (typeof value.retryAfterSeconds === "number") details.retryAfterSeconds = value.retryAfterSeconds;
  if (Array.isArray(value.causes))
    details.causes = value.causes.filter(isFields).map(
      (cause): Cause => ({
        field: text(cause.field) ?? "",
        // A newer server may know more reasons; they are only shown.
        reason: (text(cause.reason) ?? "FieldValueInvalid") as Cause["reason"],
        message: text(cause.message) ?? "",
      }),
    );
  return details;
}

function errorFromStatus(status: unknown, code: number): ApiError {
  const known = isFields(status) ? status : {};
  const byCode = Object.keys(REASON_CODES)
    .filter(isReason)
    .find((reason) => REASON_CODES[reason] === code);
  const reason = isReason(known.reason) ? known.reason : (byCode ?? "InternalError");
  return new ApiError(
    reason,
    text(known.message) ?? `the server answered ${code}`,
    detailsFrom(known.details),
  );
}

/** An answer with an error code: the Status in it, or what can be said without one (a proxy's page). */
export function errorFromAnswer(code: number | undefined, body: string): ApiError {
  let status: unknown;
  try {
    status = JSON.parse(body);
  } catch {
    status = { message: `the server answered ${code}: ${body.slice(0, 200)}` };
  }
  return errorFromStatus(status, code ?? 500);
}
