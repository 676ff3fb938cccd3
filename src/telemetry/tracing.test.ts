/** Spans as a collector gets them: a small OTLP receiver, and a real API server. */
import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { startApiStack } from "../api/testing/stack.ts";
import { Lease } from "../reconcile/kinds.ts";
import { inRequest } from "./request-id.ts";
import { inSpan, startTracing, traceparent } from "./tracing.ts";

interface Received {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  status?: { code?: number; message?: string };
  attributes: { key: string; value: Record<string, unknown> }[];
}

let collector: Server;
let spans: Received[] = [];
let services: string[] = [];
beforeEach(async () => {
  [spans, services] = [[], []];
  collector = createServer((request, response) => {
    let body = "";
    request.on("data", (data: Buffer) => {
      body += data;
    });
    request.on("end", () => {
      for (const { resource, scopeSpans } of JSON.parse(body).resourceSpans) {
        services.push(
          resource.attributes.find(({ key }: { key: string }) => key === "service.name").value.stringValue,
        );
        for (const scope of scopeSpans) spans.push(...scope.spans);
      }
      response.setHeader("content-type", "application/json");
      response.end("{}");
    });
  });
  await new Promise<void>((done) => collector.listen(0, "127.0.0.1", done));
  const address = collector.address();
  const port = typeof address === "object" && address ? address.port : 0;
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", `http://127.0.0.1:${port}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  collector.closeAllConnections();
  collector.close();
});
const named = (name: string) => spans.find((span) => span.name === name);
const attribute = (span: Received | undefined, key: string) =>
  Object.values(span?.attributes.find((each) => each.key === key)?.value ?? {})[0];

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

it("of all processes that work for a request are of one trace, whose id is the request's", async () => {
  const stop = await startTracing("test", "1");
  await using stack = await startApiStack();
  await inRequest(TRACE, () =>
    inSpan("outer", { a: 1 }, async () => {
      await stack.admin().get(Lease, { name: "none" });
      await inSpan("failing", {}, () => Promise.reject(new Error("no"))).catch(() => undefined);
    }),
  );
  await inRequest(TRACE, () => inSpan("elsewhere", {}, async () => 1));
  await stop();
  expect(new Set(services)).toEqual(new Set(["test"]));
  const outer = named("outer");
  expect(outer).toMatchObject({ traceId: TRACE });
  expect(attribute(outer, "vireo.request_id")).toBe(TRACE);
  const served = named("api GET");
  expect(served).toMatchObject({ traceId: TRACE, parentSpanId: outer?.spanId });
  expect(attribute(served, "url.path")).toBe("/apis/vireo.dev/v1/leases/none");
  expect(named("failing")).toMatchObject({
    parentSpanId: outer?.spanId,
    status: { code: 2, message: "no" },
  });
  // Another process, or later: the same trace, though nobody handed a span over.
  expect(named("elsewhere")).toMatchObject({ traceId: TRACE });
  expect(named("elsewhere")?.parentSpanId).toBeFalsy();
});

it("go on with the trace of a client's traceparent", async () => {
  const stop = await startTracing("test", "1");
  await inRequest("not-a-trace", () =>
    inSpan("served", {}, async () => expect(traceparent()).toMatch(`00-${TRACE}-`), {
      traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
    }),
  );
  await inSpan("of nobody", {}, async () => undefined, { traceparent: "rubbish" });
  await stop();
  expect(named("served")).toMatchObject({ traceId: TRACE, parentSpanId: "00f067aa0ba902b7" });
  expect(named("of nobody")?.traceId).not.toBe(TRACE);
});

it("are none where they are not configured, or when the collector is away nothing suffers", async () => {
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", "");
  const stop = await startTracing("test", "1");
  expect(await inSpan("none", {}, async () => traceparent())).toBeUndefined();
  await stop();
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
  vi.stubEnv("OTEL_EXPORTER_OTLP_TIMEOUT", "200");
  const stopped = await startTracing("test", "1");
  expect(await inSpan("lost", {}, async () => 7)).toBe(7);
  await stopped();
  expect(spans).toEqual([]);
});
