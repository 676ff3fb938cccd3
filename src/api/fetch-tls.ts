/** GET of a small JSON document over TLS with a CA of one's own, which the built-in fetch cannot be told. */
import { get } from "node:https";

const MAX_BYTES = 2 ** 20;

/**
 * Like fetch(url), for https only: no redirect is followed. `ca`: PEM of the only CAs that are trusted; without it those of Node.
 * @throws Error naming the URL: no connection, wrong certificate, more than a MiB, aborted
 */
export function fetchTls(
  url: string | URL,
  options: { ca?: string; signal: AbortSignal; headers?: Headers },
): Promise<Response> {
  const { ca, signal, headers } = options;
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) =>
      reject(new Error(`${url}: ${cause instanceof Error ? cause.message : String(cause)}`));
    get(
      url,
      {
        ...(ca === undefined ? {} : { ca }),
        signal,
        agent: false,
        headers: Object.fromEntries(headers ?? []),
      },
      (answer) => {
        const parts: Buffer[] = [];
        let size = 0;
        answer.on("data", (part: Buffer) => {
          size += part.length;
          if (size > MAX_BYTES) answer.destroy(new Error(`the answer is larger than ${MAX_BYTES} bytes`));
          else parts.push(part);
        });
        answer.on("error", fail);
        answer.on("end", () => {
          const status = answer.statusCode ?? 0;
          if (status === 200) resolve(new Response(Buffer.concat(parts), { status }));
          else fail(new Error(`answered ${status}, not 200`));
        });
      },
    ).on("error", fail);
  });
}
