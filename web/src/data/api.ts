/** Requests to the API, with the session's cookie. Errors are the API's own, also when nobody answers. */
import { errorFromAnswer } from "../../../src/client/answers.ts";
import { ApiError, isApiError } from "../../../src/resource/errors.ts";

export { ApiError, isApiError };

export interface RequestOptions {
  body?: unknown;
  contentType?: string;
  accept?: string;
  signal?: AbortSignal | undefined;
}

export const MERGE_PATCH = "application/merge-patch+json";

const ANSWER_MS = 30_000;

async function send(
  method: string,
  path: string,
  options: RequestOptions,
  limit: readonly AbortSignal[] = [],
): Promise<Response> {
  const { body, contentType = "application/json", accept = "application/json", signal } = options;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: { accept, ...(body === undefined ? {} : { "content-type": contentType }) },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body) }),
      signal: AbortSignal.any([...(signal ? [signal] : []), ...limit]),
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError("ServiceUnavailable", "the control plane does not answer", {}, { cause });
  }
  if (!response.ok) throw errorFromAnswer(response.status, await response.text().catch(() => ""));
  return response;
}

/** @throws ApiError */
export async function request<T = unknown>(
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<T> {
  // Files take as long as they take; of all else a server that says nothing so long is none.
  const limit = options.body instanceof Blob ? [] : [AbortSignal.timeout(ANSWER_MS)];
  const response = await send(method, path, options, limit);
  return (await response.json()) as T;
}

/** @throws ApiError */
export const requestText = async (path: string, options: RequestOptions = {}): Promise<string> =>
  (await send("GET", path, options)).text();

/** @throws ApiError */
export const requestBlob = async (path: string, options: RequestOptions = {}): Promise<Blob> =>
  (await send("GET", path, options)).blob();

/** The message of any error, for people. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
