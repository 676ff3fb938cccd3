/** Requests to the API, with the session's cookie. Errors are the API's own, also when nobody answers. */
import { errorFromAnswer } from "../../../src/client/answers.ts";
import { ApiError, isApiError } from "../../../src/resource/errors.ts";

export { ApiError, isApiError };

export interface RequestOptions {
  body?: unknown;
  contentType?: string;
  accept?: string;
  signal?: AbortSignal | undefined;
  /** The server may have much to do, or to fetch, before it says anything. */
  isLong?: boolean;
}

export const MERGE_PATCH = "application/merge-patch+json";

/** A server that says nothing so long is none. What flows may take as long as it takes. */
const SILENCE_MS = 30_000;

async function send<T>(
  method: string,
  path: string,
  options: RequestOptions,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  const { body, contentType = "application/json", accept = "application/json", signal } = options;
  const silence = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  let response: Response | undefined;
  try {
    // How long a file is under way nobody can tell.
    if (!options.isLong && !(body instanceof Blob)) heard();
    response = await fetch(path, {
      method,
      headers: { accept, ...(body === undefined ? {} : { "content-type": contentType }) },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body) }),
      signal: AbortSignal.any([...(signal ? [signal] : []), silence.signal]),
      credentials: "same-origin",
      cache: "no-store",
    });
    heard();
    const { status, headers } = response;
    const chunks = response.body?.pipeThrough(
      new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        transform(chunk, controller) {
          heard();
          controller.enqueue(chunk);
        },
      }),
    );
    const answer = new Response(chunks ?? null, { headers });
    if (!response.ok) throw errorFromAnswer(status, await answer.text().catch(() => ""));
    return await read(answer);
  } catch (cause) {
    if (signal?.aborted || isApiError(cause)) throw cause;
    if (response && cause instanceof SyntaxError)
      throw new ApiError("InternalError", `the control plane's answer is no JSON: ${cause.message}`);
    const what = silence.signal.aborted
      ? `the control plane has said nothing for ${SILENCE_MS / 1000} s`
      : response
        ? "the control plane's answer broke off"
        : "the control plane does not answer";
    // Whoever was not connected at all has done nothing; of the others nobody knows.
    const doubt =
      method !== "GET" && (response || silence.signal.aborted)
        ? "; it may have been done all the same: look before you ask for it again"
        : "";
    throw new ApiError("ServiceUnavailable", what + doubt, {}, { cause });
  } finally {
    clearTimeout(timer);
  }
}

/** @throws ApiError */
export const request = async <T = unknown>(
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<T> => send(method, path, options, async (response) => (await response.json()) as T);

/** @throws ApiError */
export const requestText = (path: string, options: RequestOptions = {}): Promise<string> =>
  send("GET", path, options, (response) => response.text());

/** @throws ApiError */
export const requestBlob = (path: string, options: RequestOptions = {}): Promise<Blob> =>
  send("GET", path, options, (response) => response.blob());

/** Whether the same may go well a little later: the server has said so, has too much to do, or has not answered. */
export const isPassing = (error: unknown): boolean =>
  isApiError(error, "ServiceUnavailable", "TooManyRequests") ||
  (isApiError(error, "Conflict") && error.details.retryAfterSeconds !== undefined);

/** The message of any error, for people. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
