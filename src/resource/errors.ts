/**
 * Errors that cross the API: a Kubernetes `Status`. The text for users is `message` and `causes`; what only operators
 * should see goes into the `cause` of the Error and never leaves the process.
 */

/** One wrong field: `field` is a path such as `spec.interfaces[0].network`. */
export interface Cause {
  field: string;
  reason:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueNotSupported"
    | "FieldValueTypeInvalid"
    | "FieldValueTooLong"
    | "FieldValueForbidden"
    | "FieldValueDuplicate"
    | "FieldManagerConflict"
    | "NamespaceTerminating"
    | "HostTakenOut"
    | "ResourceVersionTooLarge";
  message: string;
}

/** A field's value, which is told, cannot be. */
export const invalidValue = (field: string, value: unknown, why: string): Cause =>
  invalidField(field, `${JSON.stringify(value)}: ${why}`);

/** A field's value cannot be; `why` tells of it what may be told. */
export const invalidField = (field: string, why: string): Cause => ({
  field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${why}`,
});

/** A field may not be so here, whatever its value. */
export const forbiddenField = (field: string, why: string): Cause => ({
  field,
  reason: "FieldValueForbidden",
  message: `Forbidden: ${why}`,
});

/** A field is needed, and is not there. */
export const requiredField = (field: string, why: string): Cause => ({
  field,
  reason: "FieldValueRequired",
  message: `Required value: ${why}`,
});

/** Reason -> HTTP code: the one table. 500 is our bug; 503 and 504 mean "try again". */
export const REASON_CODES = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  Gone: 410,
  Expired: 410,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  Invalid: 422,
  TooManyRequests: 429,
  InternalError: 500,
  ServiceUnavailable: 503,
  Timeout: 504,
} as const;

export type Reason = keyof typeof REASON_CODES;

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: Cause[];
  retryAfterSeconds?: number;
}

/** An error with a text for the user; thrown by the API's rooms and by the client when the server answered with a Status. */
export class ApiError extends Error {
  readonly reason: Reason;
  readonly details: StatusDetails;
  /** Of a list whose snapshot is gone: where to go on, in the state of now. */
  readonly continue?: string;
  constructor(
    reason: Reason,
    message: string,
    details: StatusDetails = {},
    options?: ErrorOptions & { continue?: string },
  ) {
    super(message, options);
    this.name = "ApiError";
    this.reason = reason;
    this.details = details;
    if (options?.continue !== undefined) this.continue = options.continue;
  }
  get code(): number {
    return REASON_CODES[this.reason];
  }
}

export function isApiError(error: unknown, ...reasons: Reason[]): error is ApiError {
  return error instanceof ApiError && (reasons.length === 0 || reasons.includes(error.reason));
}
