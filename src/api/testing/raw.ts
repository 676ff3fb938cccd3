/** A plain HTTPS request, for tests of what a well-behaved client would not send. */
import { request } from "node:https";
import type { ApiStack } from "./stack.ts";

export interface RawAnswer {
  code: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  /** The answer as JSON, or {}. */
  body: Record<string, unknown>;
}

export async function raw(
  stack: ApiStack,
  method: string,
  path: string,
  options: { token?: string; body?: string | Buffer; headers?: Record<string, string> } = {},
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      host: "127.0.0.1",
      port: stack.server.port,
      ca: stack.pki.ca,
      agent: false,
      method,
      path,
      headers: {
        ...(options.token ? { authorization: `Bearer ${options.token}` } : {}),
        ...(options.body === undefined ? {} : { "content-type": "application/json" }),
        // Node sends none by itself for DELETE and OPTIONS.
        ...(options.body === undefined || options.headers?.["transfer-encoding"]
          ? {}
          : { "content-length": String(Buffer.byteLength(options.body)) }),
        ...options.headers,
      },
    });
    sent.on("error", reject);
    sent.on("response", (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const bytes = Buffer.concat(parts);
        const text = bytes.toString("utf8");
        let body: Record<string, unknown> = {};
        try {
          body = JSON.parse(text);
        } catch {
          // Not JSON: text has it.
        }
        resolve({ code: response.statusCode ?? 0, headers: response.headers, text, body });
      });
    });
    sent.end(options.body);
  });
}
