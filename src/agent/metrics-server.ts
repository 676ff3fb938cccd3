/** `GET /metrics` of an agent, for Prometheus. Without a password: whoever reaches the address reads it, so it is off until an address is given. */
import { createServer, type Server } from "node:http";
import { exposition } from "../telemetry/metrics.ts";

/** "127.0.0.1:9464", "[::1]:9464" -> its parts; undefined when it is none. */
export function parseAddress(address: string): { host: string; port: number } | undefined {
  const parts = /^(?:\[([0-9a-f:]+)\]|([^:\s]+)):(\d{1,5})$/i.exec(address);
  const [host, port] = [parts?.[1] ?? parts?.[2], Number(parts?.[3])];
  return host && port > 0 && port < 65536 ? { host, port } : undefined;
}

/** @throws Error when nobody can listen there */
export function serveMetrics(at: { host: string; port: number }, signal: AbortSignal): Promise<Server> {
  const server = createServer((request, response) => {
    const end = (code: number, text: string, contentType = "text/plain; charset=utf-8") =>
      response.writeHead(code, { "content-type": contentType }).end(text);
    if (request.url?.split("?")[0] !== "/metrics") return end(404, "there is GET /metrics\n");
    if (request.method !== "GET") return end(405, "metrics are GET /metrics\n");
    exposition().then(
      ({ contentType, text }) => end(200, text, contentType),
      () => end(500, "the metrics could not be read; the log of the agent tells why\n"),
    );
  });
  signal.addEventListener("abort", () => server.close(), { once: true });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(at, () => resolve(server));
  });
}
