import { expect, it } from "vitest";
import { parseAddress, serveMetrics } from "./metrics-server.ts";

it("an address has a host and a port", () => {
  expect(parseAddress("127.0.0.1:9464")).toEqual({ host: "127.0.0.1", port: 9464 });
  expect(parseAddress("[::1]:9464")).toEqual({ host: "::1", port: 9464 });
  for (const odd of ["9464", "127.0.0.1", "a:b", "::1:9464", "a:70000", ""])
    expect(parseAddress(odd)).toBeUndefined();
});

it("metrics are read at their path alone, until the agent ends", async () => {
  const stop = new AbortController();
  const server = await serveMetrics({ host: "127.0.0.1", port: 0 }, stop.signal);
  const at = server.address();
  const url = `http://127.0.0.1:${at && typeof at === "object" ? at.port : 0}`;
  const get = async (path: string, init = {}) =>
    fetch(url + path, { ...init, headers: { connection: "close" } });
  const answer = await get("/metrics");
  expect([answer.status, answer.headers.get("content-type")]).toEqual([
    200,
    expect.stringContaining("text/plain"),
  ]);
  expect((await get("/")).status).toBe(404);
  expect((await get("/metrics", { method: "POST" })).status).toBe(405);
  const closed = new Promise((resolve) => server.on("close", resolve));
  stop.abort();
  await closed;
});
