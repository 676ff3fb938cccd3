/**
 * Requests made from the server's own OpenAPI document: right ones, nearly right ones, and garbage. Whatever comes, the server answers with a
 * code below 500, goes on, and does not grow. 20,000 requests: VIREO_FUZZ_REQUESTS=20000 ./vireo test fuzz
 */

import { Agent, request } from "node:https";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Random } from "../../test/chaos/random.ts";
import { type Fields, isFields } from "../resource/fields.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const REQUESTS = Number(process.env.VIREO_FUZZ_REQUESTS ?? 2000);
const SEED = Number(process.env.VIREO_FUZZ_SEED ?? 1);
const AT_ONCE = 16;
const TYPES = [
  "application/json",
  "application/merge-patch+json",
  "application/json-patch+json",
  "application/apply-patch+yaml",
  "application/strategic-merge-patch+json",
  "application/yaml",
  "application/vnd.kubernetes.protobuf",
  "text/plain",
];
const ODD: readonly unknown[] = [
  null,
  "",
  "\u0000",
  "\ud800",
  "../../etc/passwd",
  "a".repeat(5000),
  -1,
  1e308,
  0.1,
  true,
  [],
  {},
  [[[[[[]]]]]],
  { __proto__: { polluted: 1 } },
  JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
  "512",
  "9".repeat(400),
  "-1Gi",
  "$(reboot)",
];

interface Operation {
  method: string;
  path: string;
  parameters: string[];
  schema: unknown;
}

let stack: ApiStack;
let token: string;
let agent: Agent;
let definitions: Fields = {};
const operations: Operation[] = [];

beforeAll(async () => {
  stack = await startApiStack();
  token = stack.pki.tokens.addUser({ name: "fuzz", groups: ["system:masters"] });
  agent = new Agent({ ca: stack.pki.ca, keepAlive: true, maxSockets: AT_ONCE });
  const admin = stack.admin();
  const index = await admin.raw("GET", "/openapi/v3");
  const paths = isFields(index) && isFields(index.paths) ? Object.keys(index.paths) : [];
  for (const name of paths) {
    const document = await admin.raw("GET", `/openapi/v3/${name}`);
    if (!isFields(document) || !isFields(document.paths)) continue;
    const components = isFields(document.components) ? document.components : {};
    definitions = { ...definitions, ...(isFields(components.schemas) ? components.schemas : {}) };
    for (const [path, item] of Object.entries(document.paths)) {
      if (!isFields(item)) continue;
      for (const [method, operation] of Object.entries(item)) {
        if (!isFields(operation)) continue;
        const parameters = Array.isArray(operation.parameters) ? operation.parameters.filter(isFields) : [];
        const body =
          isFields(operation.requestBody) && isFields(operation.requestBody.content)
            ? operation.requestBody.content
            : {};
        const [first] = Object.values(body);
        operations.push({
          method: method.toUpperCase(),
          path,
          parameters: parameters.filter((p) => p.in === "query").map((p) => String(p.name)),
          schema: isFields(first) ? first.schema : undefined,
        });
      }
    }
  }
  expect(operations.length).toBeGreaterThan(50);
});
afterAll(async () => {
  agent.destroy();
  await stack[Symbol.asyncDispose]();
});

/** A value that the schema allows, more or less: `wrong` is the share of odd ones. */
function make(random: Random, schema: unknown, wrong: number, depth = 0): unknown {
  if (random.next() < wrong) return random.pick(ODD);
  if (!isFields(schema) || depth > 8) return random.pick(ODD);
  if (typeof schema.$ref === "string") {
    return make(random, definitions[schema.$ref.split("/").at(-1) ?? ""], wrong, depth + 1);
  }
  if (Array.isArray(schema.allOf)) return make(random, schema.allOf[0], wrong, depth + 1);
  if (Array.isArray(schema.enum)) return random.pick(schema.enum);
  switch (schema.type) {
    case "object": {
      const properties = isFields(schema.properties) ? schema.properties : {};
      const required = Array.isArray(schema.required) ? schema.required : [];
      const made: Fields = {};
      for (const [name, of] of Object.entries(properties))
        if (required.includes(name) ? random.next() > wrong : random.next() < 0.3)
          made[name] = make(random, of, wrong, depth + 1);
      if (random.next() < wrong)
        made[String(random.pick(["__proto__", "constructor", "x", "", "$patch"]))] = random.pick(ODD);
      return made;
    }
    case "array":
      return Array.from({ length: random.below(4) }, () => make(random, schema.items, wrong, depth + 1));
    case "integer":
    case "number":
      return random.below(20);
    case "boolean":
      return random.next() < 0.5;
    default:
      return random.pick([
        "a",
        "b",
        "web-1",
        "default",
        "512Mi",
        "1Gi",
        "2026-01-01T00:00:00Z",
        "10.1.0.0/24",
      ]);
  }
}

const NAMES = ["a", "b", "c", "default", "..", "%2e%2e", "a/b", "a%2fb", "A", "%00", "%ff", "x".repeat(300)];

function makeRequest(random: Random) {
  const operation = random.pick(operations) as Operation;
  const wrong = random.pick([0, 0.02, 0.2, 0.9]) ?? 0;
  const odd = () => random.next() < wrong / 2;
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) =>
    name === "namespace" && !odd() ? "default" : String(random.pick(odd() ? NAMES : NAMES.slice(0, 3))),
  );
  const query = new URLSearchParams();
  // A watch would not end.
  for (const name of operation.parameters)
    if (name !== "watch" && random.next() < 0.15)
      query.set(name, String(random.pick(["1", "All", "Strict", "a=b", "a", "true", "-1", "x y", "0"])));
  const body = makeBody(random, operation, wrong);
  const method = odd()
    ? (random.pick(["GET", "PUT", "POST", "PATCH", "DELETE", "TRACE", "FOO"]) ?? "")
    : operation.method;
  const type = method === "PATCH" || odd() ? (random.pick(TYPES) ?? "") : "application/json";
  const accept = odd()
    ? String(random.pick(["*/*", "text/html", "application/json;as=Table;v=v1;g=meta.k8s.io", "", ";;;,"]))
    : "application/json";
  return { method, path: `${path}${query.size ? `?${query}` : ""}`, body, type, accept };
}

function makeBody(random: Random, { method, schema }: Operation, wrong: number): Buffer | undefined {
  if (method === "GET") return undefined;
  if (random.next() < wrong / 4)
    return Buffer.from(Array.from({ length: random.below(300) }, () => random.below(256)));
  const value = make(random, schema, wrong);
  const named =
    isFields(value) && random.next() > wrong
      ? { ...value, metadata: { name: random.pick(["a", "b", "c"]) } }
      : value;
  const text = JSON.stringify(named) ?? "";
  return Buffer.from(random.next() < wrong / 8 ? text.slice(0, random.below(text.length + 1)) : text);
}

function send({
  method,
  path,
  body,
  type,
  accept,
}: ReturnType<typeof makeRequest>): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      accept,
      "content-type": type,
      "content-length": body?.length ?? 0,
    };
    const sent = request({ port: stack.server.port, agent, method, path, headers }, (response) => {
      let text = "";
      response.on("data", (part: Buffer) => (text += text.length < 2000 ? part.toString() : ""));
      response.on("end", () => resolve({ code: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

it(`${REQUESTS} requests: each is answered, none is a failure of the server`, {
  timeout: 60_000 + REQUESTS * 50,
}, async () => {
  const random = new Random(SEED);
  const codes = new Map<number, number>();
  const failures: string[] = [];
  const memory: number[] = [];
  for (let done = 0; done < REQUESTS; done += AT_ONCE) {
    const requests = Array.from({ length: AT_ONCE }, () => makeRequest(random));
    await Promise.all(
      requests.map(async (each) => {
        const what = `${each.method} ${each.path} (${each.type}) ${each.body?.subarray(0, 300).toString()}`;
        try {
          const { code, text } = await send(each);
          codes.set(code, (codes.get(code) ?? 0) + 1);
          // A revision that is yet to come is a 504 in Kubernetes, too.
          if (code >= 500 && !text.includes("Too large resource version"))
            failures.push(`${code}: ${what}: ${text}`);
        } catch (error) {
          // The parser refuses what is not HTTP by closing; the answer may be lost then.
          if (!/ECONNRESET|EPIPE|socket hang up|Invalid|must be/i.test(String(error)))
            failures.push(`${error}: ${what}`);
        }
      }),
    );
    if (done % (AT_ONCE * 20) === 0) {
      globalThis.gc?.();
      memory.push(process.memoryUsage().heapUsed);
    }
  }
  const sorted = Object.fromEntries([...codes].sort(([a], [b]) => a - b));
  process.stdout.write(
    `fuzz, seed ${SEED}: ${JSON.stringify(sorted)}, heap ${memory
      .map((b) => Math.round(b / 2 ** 20))
      .filter((_, i) => i % 5 === 0)
      .join(" ")} MiB\n`,
  );
  expect(failures.slice(0, 5)).toEqual([]);
  expect(stack.errors).toEqual([]);
  expect(Reflect.get({}, "polluted")).toBeUndefined();
  // It still does its work.
  const admin = stack.admin();
  expect(await admin.raw("GET", "/apis/vireo.dev/v1/virtualmachines")).toMatchObject({
    kind: "VirtualMachineList",
  });
});
