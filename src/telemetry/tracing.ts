/**
 * OpenTelemetry traces, where they are configured (OTEL_EXPORTER_OTLP_ENDPOINT and the other standard variables; OTLP over HTTP, JSON). Without
 * that nothing of it is loaded, and a span is a call of a function. The id of a request (request-id.ts) is that of its trace, so that the
 * spans of all processes that work for it come together.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes } from "node:crypto";
import type { Attributes, Context, Span, SpanOptions } from "@opentelemetry/api";
import { currentRequest } from "./request-id.ts";

type Start = (name: string, options: SpanOptions, parent: Span | string | undefined) => Span;

let start: Start | undefined;
const current = new AsyncLocalStorage<Span>();

/** Whether the environment asks for traces. */
const isConfigured = ({ env } = process) =>
  env.OTEL_SDK_DISABLED !== "true" &&
  !!(env.OTEL_EXPORTER_OTLP_ENDPOINT || env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT);

/** Begins to send spans, if that is configured. `service`: service.name, where OTEL_SERVICE_NAME gives none. @returns sends what is left, and ends */
export async function startTracing(service: string, version: string): Promise<() => Promise<void>> {
  if (!isConfigured()) return async () => {};
  const [{ ROOT_CONTEXT, trace, TraceFlags }, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] =
    await Promise.all([
      import("@opentelemetry/api"),
      import("@opentelemetry/sdk-trace"),
      import("@opentelemetry/exporter-trace-otlp-http"),
      import("@opentelemetry/resources"),
    ]);
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({
      "service.name": process.env.OTEL_SERVICE_NAME || service,
      "service.version": version,
    }),
    idGenerator: {
      generateTraceId: () => TRACE_ID.exec(currentRequest() ?? "")?.[0] ?? randomBytes(16).toString("hex"),
      generateSpanId: () => randomBytes(8).toString("hex"),
    },
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  const tracer = provider.getTracer("vireo", version);
  const contextOf = (parent: Span | string | undefined): Context => {
    if (parent === undefined) return ROOT_CONTEXT;
    if (typeof parent !== "string") return trace.setSpan(ROOT_CONTEXT, parent);
    const [, traceId = "", spanId = ""] = TRACEPARENT.exec(parent) ?? [];
    if (!traceId) return ROOT_CONTEXT;
    const remote = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
    return trace.setSpanContext(ROOT_CONTEXT, remote);
  };
  start = (name, options, parent) => tracer.startSpan(name, options, contextOf(parent));
  return async () => {
    start = undefined;
    // A collector that is away costs the last spans, nothing else.
    await provider.shutdown().catch(() => undefined);
  };
}

const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;
const TRACEPARENT = /^00-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-[0-9a-f]{2}$/;
/** SpanStatusCode.ERROR, of a module that may not be loaded. */
const ERROR = 2;

/**
 * Runs the work in a span, a child of the one around it; an error ends it as failed. `end`: attributes that are known after it.
 * @param traceparent of the request that the work answers, where there is one
 */
export async function inSpan<T>(
  name: string,
  attributes: Attributes,
  work: () => Promise<T>,
  more: { traceparent?: string | undefined; end?: () => Attributes } = {},
): Promise<T> {
  if (!start) return work();
  const id = currentRequest();
  const all = { ...attributes, ...(id ? { "vireo.request_id": id } : {}) };
  const span = start(name, { attributes: all }, more.traceparent ?? current.getStore());
  try {
    return await current.run(span, work);
  } catch (error) {
    span.setStatus({ code: ERROR, message: error instanceof Error ? error.message : String(error) });
    throw error;
  } finally {
    if (more.end) span.setAttributes(more.end());
    span.end();
  }
}

/** The header `traceparent` (W3C Trace Context) of requests that are made in the span around; undefined: there is none. */
export function traceparent(): string | undefined {
  const context = current.getStore()?.spanContext();
  return context && `00-${context.traceId}-${context.spanId}-01`;
}
