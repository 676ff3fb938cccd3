/** Why an operation is refused, apart from what the object says. */
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { NotWritten, OutcomeUnknown, Unavailable, WritesForbidden } from "../store/store.ts";
import { preconditionFailed } from "./overwrite.ts";
import { resourceName } from "./prepare.ts";
import type { DeleteRequest } from "./service.ts";

/** Bytes of one stored object: etcd takes requests of 1.5 MiB. Patches could make one grow without limit otherwise. */
export const MAX_OBJECT = 1_556_480;

/** What a client is told when the store does not answer. */
export function storeError(error: unknown): unknown {
  if (error instanceof OutcomeUnknown)
    return new ApiError(
      "Timeout",
      "the store did not confirm the write in time: it may have happened; read again before repeating it",
      { retryAfterSeconds: 1 },
      { cause: error },
    );
  if (error instanceof Unavailable)
    return new ApiError(
      "ServiceUnavailable",
      "the store does not answer; try again, or ask another control plane",
      { retryAfterSeconds: 1 },
      { cause: error },
    );
  if (error instanceof NotWritten || error instanceof WritesForbidden)
    return new ApiError(
      "ServiceUnavailable",
      `${error instanceof NotWritten ? "the store cannot write: " : ""}${error.message}. Nothing was changed`,
      // No time to come again: it takes somebody to make room, and who repeats it meanwhile loads what fails.
      {},
      { cause: error },
    );
  return error;
}

export function checkPreconditions(kind: Kind, { metadata }: Resource, request: DeleteRequest): void {
  const { uid, resourceVersion } = request;
  if (uid !== undefined && uid !== metadata.uid)
    throw preconditionFailed(kind, metadata.name, "UID", uid, metadata.uid);
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion)
    throw preconditionFailed(
      kind,
      metadata.name,
      "ResourceVersion",
      resourceVersion,
      metadata.resourceVersion,
    );
}

export const tooLarge = (kind: Kind, { metadata: { name } }: Resource) =>
  new ApiError(
    "RequestEntityTooLarge",
    `${resourceName(kind)} ${JSON.stringify(name)}: the object would be larger than ${MAX_OBJECT} bytes`,
    { name, group: kind.group, kind: kind.plural },
  );
