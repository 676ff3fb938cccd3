/** /metrics of the API server, by the real promtool, and who may read it. */
import { execFile } from "node:child_process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lease } from "../reconcile/kinds.ts";
import { collectProcessMetrics } from "../telemetry/metrics.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let token = "";
beforeAll(async () => {
  stack = await startApiStack();
  token = stack.pki.tokens.addUser({ name: "admin", groups: ["system:masters"] });
  collectProcessMetrics();
  // Every room's metrics are declared when its code is loaded.
  await import("../cli/server.ts");
});
afterAll(() => stack[Symbol.asyncDispose]());

const scrape = (as = token) => raw(stack, "GET", "/metrics", { token: as });
const value = (text: string, series: string) =>
  Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${series} `))
      ?.split(" ")[1],
  );

/** @returns exit code, and what promtool has to say */
const promtool = (text: string) =>
  new Promise<{ code: number; said: string }>((resolve) => {
    const child = execFile("promtool", ["check", "metrics"], (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, said: stdout + stderr }),
    );
    child.stdin?.end(text);
  });

it("are what promtool finds nothing wrong with", async () => {
  const { code, text, headers } = await scrape();
  expect(code).toBe(200);
  expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(await promtool(text)).toEqual({ code: 0, said: "" });
  // It does find something in what is wrong.
  expect((await promtool("# TYPE x counter\nx 1\n")).code).not.toBe(0);
});

it("count requests by verb, resource and code, watches, and seats", async () => {
  const before = (await scrape()).text;
  const series = 'vireo_api_requests_total{verb="list",resource="virtualmachines",code="200"}';
  await raw(stack, "GET", "/apis/vireo.dev/v1/virtualmachines", { token });
  await raw(stack, "GET", "/apis/vireo.dev/v1/nonsense", { token });
  const stop = new AbortController();
  const client = stack.admin();
  const { resourceVersion } = await client.list(Lease);
  const watching = (async () => {
    for await (const _ of client.watch(Lease, { resourceVersion, signal: stop.signal })) break;
  })();
  const created = await client.create(Lease, {
    metadata: { name: "x" },
    spec: { holder: "a", durationSeconds: 1, renewTime: "2026-01-01T00:00:00.000Z", transitions: 0 },
  });
  expect(created.metadata.name).toBe("x");
  await watching;
  const { text } = await scrape();
  expect(value(text, series)).toBe((value(before, series) || 0) + 1);
  expect(value(text, 'vireo_api_requests_total{verb="get",resource="",code="404"}')).toBeGreaterThan(0);
  expect(value(text, 'vireo_api_requests_total{verb="watch",resource="leases",code="200"}')).toBe(1);
  // This very request has a seat.
  expect(value(text, "vireo_api_seats_used")).toBe(1);
  expect(text).not.toContain("nonsense");
  stop.abort();
});

it("are for those who have been given /metrics", async () => {
  const plain = stack.pki.tokens.addUser({ name: "eve", groups: [] });
  const refused = await scrape(plain);
  expect(refused.code).toBe(403);
  expect(refused.body.message).toBe(
    'User "eve" cannot get path "/metrics": the ClusterRole monitoring allows it',
  );
  const bound = await raw(stack, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
    token,
    body: JSON.stringify({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "prometheus" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "monitoring" },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "eve" }],
    }),
  });
  expect(bound.code).toBe(201);
  expect((await scrape(plain)).code).toBe(200);
  expect((await raw(stack, "GET", "/metrics", {})).code).toBe(401);
});
