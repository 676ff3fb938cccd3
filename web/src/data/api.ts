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

async function send(method: string, path: string, options: RequestOptions): Promise<Response> {
  const { body, contentType = "application/json", accept = "application/json", signal } = options;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: { accept, ...(body === undefined ? {} : { "content-type": contentType }) },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
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
  const response = await send(method, path, options);
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
