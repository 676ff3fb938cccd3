import { ApiError, isApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import type { Resource } from "../resource/object.ts";
import { type Attributes, forbid, onlyNameOf, patchesOnlyFinalizers, withFinalizersOf } from "./authorize.ts";
import { type Body, decodeBody, readBody, typeOfBody, unsupportedType } from "./body.ts";
import { type Exchange, flag, send, sendValue } from "./exchange.ts";
import { asSeenBy } from "./host-view.ts";
import { listBytes, sendObject, sendWritten } from "./resource-answers.ts";
import { type Call, list, type ResourceContext, selectionOf, watch } from "./resource-reads.ts";
import { answerReview } from "./reviews.ts";
import { findTarget, verbOf } from "./route.ts";
import { patchScale, SCALE, scaleOf, updateScale } from "./scale.ts";
import { withoutDirectives } from "./secrets.ts";
import { APPLY_TYPE, patchTypes, STRATEGIC } from "./served.ts";
import type { DeleteRequest, WriteOptions } from "./service.ts";
import { REVIEWS } from "./synthetic.ts";

export async function handleResource(exchange: Exchange, context: ResourceContext): Promise<void> {
  const target = findTarget(context.served, exchange.path);
  const { kind } = target.served;
  const verb = verbOf(exchange.request.method ?? "", target, exchange.query);
  exchange.target = { verb, resource: kind.plural };
  const attributes: Attributes = {
    verb,
    group: kind.group,
    resource: kind.plural,
    subresource: target.subresource,
    namespace: target.namespace,
    name: target.name ?? (verb === "create" ? undefined : ""),
  };
  const decision = context.authorizer.decide(exchange.user, attributes);
  if (!decision.allowed) forbid(exchange.user, attributes, decision.reason);
  const host = decision.onlyInstancesOf;
  const service = host === undefined ? context.service : asSeenBy(host, context.service);
  const call: Call = {
    exchange,
    context: { ...context, service },
    target,
    kind,
    name: target.name ?? "",
    attributes,
    decision,
  };
  if (target.apart) return target.apart.handle(call);
  if (target.subresource === "scale") return scale(call, verb);
  switch (verb) {
    case "get":
      return sendObject(call, 200, await service.get(kind, target.namespace, call.name));
    case "list":
      return list(call);
    case "watch":
      return watch(call);
    case "create":
      return create(call);
    case "update":
      return update(call);
    case "patch":
      return patch(call);
    case "delete":
      return remove(call);
    case "deletecollection":
      return removeCollection(call);
  }
}

// --- writing ---

async function bodyOf(exchange: Exchange): Promise<Body> {
  return decodeBody(await readBody(exchange.request), typeOfBody(exchange.request));
}

function isDryRun(values: readonly unknown[]): boolean {
  for (const value of values)
    if (value !== "All")
      throw new ApiError("BadRequest", `dryRun: the only value is All, not ${JSON.stringify(value)}`);
  return values.length > 0;
}

function writeOptions({ exchange, target }: Call, duplicates: readonly string[] = []): WriteOptions {
  const { query, request } = exchange;
  const fieldValidation = query.get("fieldValidation") || "Warn";
  if (fieldValidation !== "Strict" && fieldValidation !== "Warn" && fieldValidation !== "Ignore")
    throw new ApiError(
      "BadRequest",
      `fieldValidation: must be Strict, Warn or Ignore, not ${JSON.stringify(fieldValidation)}`,
    );
  const fieldManager = query.get("fieldManager") ?? "";
  if (fieldManager.length > 128 || !/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u.test(fieldManager))
    throw new ApiError("Invalid", "fieldManager: Invalid value: must be at most 128 printable characters");
  return {
    user: exchange.user,
    dryRun: isDryRun(query.getAll("dryRun")),
    fieldValidation,
    fieldManager:
      fieldManager || (request.headers["user-agent"] ?? "").split("/")[0]?.slice(0, 128) || "unknown",
    ...(target.subresource === "status" ? { subresource: "status" } : {}),
    ...(duplicates.length ? { duplicateFields: duplicates } : {}),
  };
}

async function create(call: Call): Promise<void> {
  const { exchange, kind, target, context, attributes } = call;
  const body = await bodyOf(exchange);
  if (Object.values(REVIEWS).includes(kind))
    return sendValue(exchange, 201, answerReview(context.authorizer, kind, exchange.user, body.value));
  const metadata = isFields(body.value) && isFields(body.value.metadata) ? body.value.metadata : {};
  // Only now is the name known. A generated name is nobody's own.
  const named = { ...attributes, name: typeof metadata.name === "string" ? metadata.name : "" };
  const decision = context.authorizer.decide(exchange.user, named);
  if (!decision.allowed) forbid(exchange.user, named, decision.reason);
  requireOwnEvent(call, body.value);
  const value = decision.onlyName ? onlyNameOf(body.value) : body.value;
  await sendWritten(
    call,
    await context.service.create(kind, target.namespace, value, writeOptions(call, body.duplicates)),
  );
}

/** For writes that are allowed only to instances of one host: the instance, when it is one. @throws ApiError Forbidden */
async function ownInstance(call: Call): Promise<Resource | undefined> {
  const { context, kind, target, decision, exchange, attributes } = call;
  const host = decision.onlyInstancesOf;
  if (host === undefined) return undefined;
  // spec.host never changes once it is set, but for runs that are over on hosts that are gone: what is checked here still holds at the write.
  const current = await context.service.get(kind, target.namespace, call.name);
  const { spec } = current;
  if (!isFields(spec) || spec.host !== host)
    forbid(exchange.user, attributes, `the instance is not bound to host ${host}`);
  return current;
}

/** For writes that are allowed only to the events of one host. @throws ApiError Forbidden */
function requireOwnEvent({ decision, exchange, attributes }: Call, event: unknown): void {
  const host = decision.onlyEventsOf;
  const spec = isFields(event) ? event.spec : undefined;
  if (host !== undefined && (!isFields(spec) || spec.host !== host))
    forbid(exchange.user, attributes, `host ${host} may write only events whose spec.host is "${host}"`);
}

async function update(call: Call): Promise<void> {
  const { exchange, context, kind, target } = call;
  const own = await ownInstance(call);
  const body = await bodyOf(exchange);
  requireOwnEvent(call, body.value);
  if (call.decision.onlyEventsOf !== undefined)
    requireOwnEvent(call, await context.service.get(kind, target.namespace, call.name));
  const value = own && target.subresource !== "status" ? withFinalizersOf(own, body.value) : body.value;
  await sendWritten(
    call,
    await context.service.update(
      kind,
      target.namespace,
      call.name,
      value,
      writeOptions(call, body.duplicates),
    ),
  );
}

async function patch(call: Call): Promise<void> {
  const { exchange, context, kind, target } = call;
  const contentType = typeOfBody(exchange.request);
  if (!patchTypes(kind).includes(contentType)) throw unsupportedType(patchTypes(kind));
  if (contentType === APPLY_TYPE) return apply(call);
  if (flag(exchange.query.get("force")))
    throw wrongOption("force: Forbidden: may not be specified for non-apply patch");
  const type = contentType.startsWith("application/json-patch") ? "json" : "merge";
  const own = await ownInstance(call);
  const body = await bodyOf(exchange);
  if (own && target.subresource !== "status" && !patchesOnlyFinalizers(type, body.value))
    forbid(
      exchange.user,
      call.attributes,
      "hosts may change only the status and the finalizers of an instance",
    );
  await sendWritten(
    call,
    await context.service.patch(
      kind,
      target.namespace,
      call.name,
      { type, body: contentType === STRATEGIC ? withoutDirectives(body.value) : body.value },
      writeOptions(call, body.duplicates),
    ),
  );
}

const wrongOption = (what: string) =>
  new ApiError("Invalid", `PatchOptions.meta.k8s.io "" is invalid: ${what}`);

/** Server-side apply. */
async function apply(call: Call): Promise<void> {
  const { exchange, context, kind, target, attributes } = call;
  if (!exchange.query.get("fieldManager"))
    throw wrongOption("fieldManager: Required value: is required for apply patch");
  const own = await ownInstance(call);
  if (own && target.subresource !== "status")
    forbid(exchange.user, attributes, "hosts may apply only the status of an instance");
  const body = await bodyOf(exchange);
  // Where there is no such object it is made, which takes a permission of its own.
  const create = context.authorizer.decide(exchange.user, { ...attributes, verb: "create" });
  const mayCreate = create.allowed && create.onlyInstancesOf === undefined;
  const force = flag(exchange.query.get("force"));
  await sendWritten(
    call,
    await context.service.patch(
      kind,
      target.namespace,
      call.name,
      { type: "apply", body: body.value, force, mayCreate },
      writeOptions(call, body.duplicates),
    ),
  );
}

/** The subresource scale: the object's number, in the form that all kinds share. */
async function scale(call: Call, verb: string): Promise<void> {
  const { exchange, context, kind, target, attributes, decision, name } = call;
  if (decision.onlyInstancesOf !== undefined) forbid(exchange.user, attributes, "hosts may not scale");
  const to = { exchange, kind: SCALE };
  if (verb === "get")
    return sendObject(to, 200, scaleOf(kind, await context.service.get(kind, target.namespace, name)));
  const subject = { service: context.service, kind, namespace: target.namespace, name };
  if (verb === "update") {
    const body = await bodyOf(exchange);
    return sendWritten(to, await updateScale(subject, body.value, writeOptions(call, body.duplicates)));
  }
  const types = patchTypes(kind).filter((type) => type !== APPLY_TYPE);
  const contentType = typeOfBody(exchange.request);
  if (!types.includes(contentType)) throw unsupportedType(types);
  const body = await bodyOf(exchange);
  const type = contentType.startsWith("application/json-patch") ? "json" : "merge";
  const options = writeOptions(call, body.duplicates);
  return sendWritten(to, await patchScale(subject, { type, body: body.value }, options));
}

// --- deleting ---

/** DeleteOptions from the body and the query. */
async function deleteRequest(exchange: Exchange): Promise<DeleteRequest> {
  const bytes = await readBody(exchange.request);
  const decoded = bytes.length ? decodeBody(bytes, typeOfBody(exchange.request)).value : {};
  if (!isFields(decoded)) throw new ApiError("BadRequest", "the body must be DeleteOptions");
  const preconditions = isFields(decoded.preconditions) ? decoded.preconditions : {};
  const { uid, resourceVersion } = preconditions;
  const propagation =
    decoded.propagationPolicy ??
    exchange.query.get("propagationPolicy") ??
    (decoded.orphanDependents === true ? "Orphan" : undefined);
  if (
    propagation !== undefined &&
    propagation !== "Background" &&
    propagation !== "Foreground" &&
    propagation !== "Orphan"
  )
    throw new ApiError(
      "BadRequest",
      `propagationPolicy: must be Background, Foreground or Orphan, not ${JSON.stringify(propagation)}`,
    );
  const asked = [
    ...(Array.isArray(decoded.dryRun) ? decoded.dryRun : []),
    ...exchange.query.getAll("dryRun"),
  ];
  return {
    user: exchange.user,
    dryRun: isDryRun(asked),
    ...(typeof uid === "string" && uid ? { uid } : {}),
    ...(typeof resourceVersion === "string" && resourceVersion ? { resourceVersion } : {}),
    ...(propagation ? { propagation } : {}),
  };
}

async function remove(call: Call): Promise<void> {
  const { exchange, context, kind, target, name } = call;
  const request = await deleteRequest(exchange);
  const { object, gone } = await context.service.delete(kind, target.namespace, name, request);
  if (!gone) return sendObject(call, 200, object);
  return sendValue(exchange, 200, {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: { name, group: kind.group, kind: kind.plural, uid: object.metadata.uid },
  });
}

async function removeCollection(call: Call): Promise<void> {
  const { exchange, context, kind } = call;
  // What a client sends that has lost the name: "…/virtualmachines/" + "". It must not mean all of them.
  if (/^[^?]*\/(\?|$)/.test(exchange.request.url ?? ""))
    throw new ApiError(
      "BadRequest",
      `the path ends where the name of what to delete should be; to delete all ${kind.plural} leave out the slash at its end`,
    );
  const request = await deleteRequest(exchange);
  const found = await context.service.list(kind, selectionOf(call));
  const deleted: Resource[] = [];
  for (const { metadata } of found.items) {
    const uid = metadata.uid ? { uid: metadata.uid } : {};
    try {
      // By uid: one that was made anew in between was not asked for.
      const result = await context.service.delete(kind, metadata.namespace, metadata.name, {
        ...request,
        ...uid,
      });
      deleted.push(result.object);
    } catch (error) {
      if (!isApiError(error, "NotFound", "Conflict")) throw error;
    }
  }
  await send(exchange, 200, listBytes(kind, { resourceVersion: found.resourceVersion }, deleted));
}
