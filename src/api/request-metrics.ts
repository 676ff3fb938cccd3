/** Metrics of the API server: what is asked of it, and how long it takes. */
import { counter, histogram, readGauge } from "../telemetry/metrics.ts";
import type { Exchange } from "./exchange.ts";

const requests = counter("vireo_api_requests_total", "Requests that were answered.", [
  "verb",
  "resource",
  "code",
]);
const duration = histogram(
  "vireo_api_request_duration_seconds",
  "Time from a request to its answer; of watches, until they run.",
  ["verb", "resource"],
);
export const watchesGauge = readGauge("vireo_api_watches", "Watches that run.");
export const seatsGauge = readGauge("vireo_api_seats_used", "Seats that requests take (see fairness.ts).");
export const waitingGauge = readGauge("vireo_api_requests_waiting", "Requests that wait for a seat.");

/** Counts a request that has been answered, after `seconds`. What is not a resource that is served has the resource "". */
export function measureRequest({ target, request, response }: Exchange, seconds: number): void {
  const { verb, resource } = target ?? { verb: METHODS[request.method ?? ""] ?? "other", resource: "" };
  requests.inc({ verb, resource, code: String(response.statusCode) });
  duration.observe({ verb, resource }, seconds);
}

const METHODS: Readonly<Record<string, string>> = { GET: "get", HEAD: "get", POST: "post" };
