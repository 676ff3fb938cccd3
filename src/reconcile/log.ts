/**
 * One JSON line per event on stderr, with fixed fields, `request` among them where work is done for one. error: somebody must act; warn: may
 * have to; info: what happened.
 */
import { currentRequest } from "../telemetry/request-id.ts";

export interface Logger {
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
  child(fields: Record<string, unknown>): Logger;
}

/** The whole chain of causes in one string: the one place that prints it. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (
    let e: unknown = error;
    e !== undefined && parts.length < 8;
    e = e instanceof Error ? e.cause : undefined
  )
    parts.push(e instanceof Error ? e.message : String(e));
  return parts.join(": ");
}

export function createLogger(
  component: string,
  write: (line: string) => void = (line) => process.stderr.write(line),
): Logger {
  const make = (base: Record<string, unknown>): Logger => {
    const log =
      (level: string) =>
      (event: string, fields: Record<string, unknown> = {}) => {
        const request = currentRequest();
        const all: Record<string, unknown> = { ...base, ...(request ? { request } : {}), ...fields };
        const shown = Object.fromEntries(
          Object.entries(all).map(([k, v]) => [k, v instanceof Error ? describeError(v) : v]),
        );
        write(`${JSON.stringify({ time: new Date().toISOString(), level, component, event, ...shown })}\n`);
      };
    return {
      info: log("info"),
      warn: log("warn"),
      error: log("error"),
      child: (fields) => make({ ...base, ...fields }),
    };
  };
  return make({});
}

export const silentLogger: Logger = { info() {}, warn() {}, error() {}, child: () => silentLogger };
