/** One id for a request: in the answer, in the log, and with the object whose wanted state it changes. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Policy } from "../director/kinds.ts";
import { Plan } from "../director/planning/kinds.ts";
import { Lease } from "../reconcile/kinds.ts";
import { createLogger } from "../reconcile/log.ts";
import { inRequest, REQUEST_ID, requestOf } from "../telemetry/request-id.ts";
import { LocalClient } from "./local.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let token = "";
const logged: Record<string, unknown>[] = [];
beforeAll(async () => {
  stack = await startApiStack({
    log: createLogger("test", (line) => logged.push(JSON.parse(line))),
  });
  token = stack.pki.tokens.addUser({ name: "admin", groups: ["system:masters"] });
});
afterAll(() => stack[Symbol.asyncDispose]());

const BASE = "/apis/vireo.dev/v2/namespaces/default/policies";
const policy = (name: string, goal = "energy") =>
  JSON.stringify({
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name },
    spec: { selector: { matchLabels: { app: name } }, goals: [{ goal }] },
  });
const create = (name: string, headers: Record<string, string> = {}, query = "") =>
  raw(stack, "POST", `${BASE}${query}`, { token, body: policy(name), headers });
const patch = (path: string, body: unknown, id: string, query = "") =>
  raw(stack, "PATCH", `${BASE}/${path}${query}`, {
    token,
    body: JSON.stringify(body),
    headers: { "content-type": "application/merge-patch+json", "x-request-id": id },
  });
/** As the server's own reconcilers see it. */
const idOf = async (name: string) =>
  requestOf(await new LocalClient(stack.service).get(Policy, { name, namespace: "default" }));

it("is the client's, or the trace's, or a new one; the answer and the log tell it", async () => {
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const own = await create("a", { "x-request-id": "mine-1", traceparent: `00-${trace}-00f067aa0ba902b7-01` });
  expect(own.headers).toMatchObject({ "x-request-id": "mine-1", "audit-id": "mine-1" });
  const traced = await create("b", { traceparent: `00-${trace}-00f067aa0ba902b7-01` });
  expect(traced.headers["x-request-id"]).toBe(trace);
  const malformed: Record<string, string>[] = [
    {},
    { "x-request-id": "a b" },
    { "x-request-id": "x".repeat(65) },
    { traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01` },
  ];
  for (const headers of malformed) {
    const answer = await create("a", headers);
    expect(answer.code).toBe(409);
    expect(answer.headers["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
  }
  expect(await idOf("a")).toBe("mine-1");
  expect(await idOf("b")).toBe(trace);
  expect(logged).toContainEqual(
    expect.objectContaining({ event: "request", request: "mine-1", method: "POST" }),
  );
});

it("changes with what is wanted of the object, and with nothing else", async () => {
  await create("c", { "x-request-id": "made" });
  await patch("c", { spec: { goals: [{ goal: "performance", weight: 1 }] } }, "dry", "?dryRun=All");
  await patch("c", { metadata: { labels: { a: "b" } } }, "labelled");
  await patch("c", { spec: { goals: [{ goal: "energy", weight: 1 }] } }, "same");
  await patch("c/status", { status: { conditions: [] } }, "status");
  expect(await idOf("c")).toBe("made");
  await patch("c", { spec: { goals: [{ goal: "performance", weight: 1 }] } }, "changed");
  expect(await idOf("c")).toBe("changed");
  await patch("c", { metadata: { finalizers: ["test/wait"] } }, "held");
  await raw(stack, "DELETE", `${BASE}/c`, { token, headers: { "x-request-id": "deleted" } });
  expect(await idOf("c")).toBe("deleted");
  await patch("c", { metadata: { finalizers: null } }, "let go");
});

it("belongs to nobody in managedFields, so that an apply without it conflicts with nothing", async () => {
  const apply = (id: string, goal: string) =>
    raw(stack, "PATCH", `${BASE}/d?fieldManager=test`, {
      token,
      body: policy("d", goal),
      headers: { "content-type": "application/apply-patch+yaml", "x-request-id": id },
    });
  expect((await apply("first", "energy")).code).toBe(201);
  const second = await apply("second", "performance");
  expect(second.code).toBe(200);
  expect(await idOf("d")).toBe("second");
  expect(JSON.stringify(second.body)).not.toContain(`f:${REQUEST_ID}`);
  // Nothing changes: nothing is written.
  const third = await apply("third", "performance");
  expect(third.body.metadata).toEqual(second.body.metadata);
});

it("is not seen by clients on what users write, in any form: an annotation that changes by itself is a change that nobody asked for", async () => {
  await create("e", { "x-request-id": "hidden-1" });
  const annotated = { metadata: { annotations: { mine: "1", [REQUEST_ID]: "forged" } } };
  const changed = await patch(
    "e",
    { ...annotated, spec: { goals: [{ goal: "performance", weight: 1 }] } },
    "hidden-2",
  );
  expect(changed.body.metadata).toMatchObject({ annotations: { mine: "1" } });
  const plain = "application/json";
  const forms = [
    plain,
    "application/yaml",
    `${plain};as=Table;v=v1;g=meta.k8s.io`,
    `${plain};as=PartialObjectMetadata;v=v1;g=meta.k8s.io`,
    `${plain};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io`,
  ];
  const ask = async (accept: string, path: string) => {
    const { code, body } = await raw(stack, "GET", `${BASE}${path}`, { token, headers: { accept } });
    expect(`${accept} ${path} ${code}`).toMatch(/ (200|406)$/);
    expect(JSON.stringify(body)).not.toMatch(/vireo.dev\/request-id|hidden/);
  };
  const paths = ["/e", "", "?watch=true&timeoutSeconds=1"];
  await Promise.all(forms.flatMap((accept) => paths.map((path) => ask(accept, path))));
  expect(await idOf("e")).toBe("hidden-2");

  // Written back as it was read, it is the same: nothing is written, and its id stays.
  const { body } = await raw(stack, "GET", `${BASE}/e`, { token });
  const put = await raw(stack, "PUT", `${BASE}/e`, { token, body: JSON.stringify(body) });
  expect(put.body).toEqual(body);
  expect(await idOf("e")).toBe("hidden-2");
});

it("is seen on what Vireo makes", async () => {
  const made = await inRequest("planned", () =>
    stack.admin().create(Plan, {
      metadata: { name: "p" },
      spec: {
        trigger: "a test",
        automation: "advise",
        moves: [{ namespace: "default", vm: "a", from: "x", to: "y", reason: "r", expected: "e" }],
      },
    }),
  );
  expect(made.metadata.annotations).toEqual({ [REQUEST_ID]: "planned" });
});

it("goes along with requests of our own code, and is not with what nobody works on", async () => {
  const client = stack.admin();
  await inRequest("story", () =>
    client.create(Lease, {
      metadata: { name: "x" },
      spec: { holder: "a", durationSeconds: 1, renewTime: "2026-01-01T00:00:00.000Z", transitions: 0 },
    }),
  );
  expect(logged).toContainEqual(expect.objectContaining({ event: "request", request: "story" }));
  expect((await client.get(Lease, { name: "x" }))?.metadata.annotations?.[REQUEST_ID]).toBeUndefined();
});
