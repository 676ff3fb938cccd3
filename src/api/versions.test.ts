/** Two versions of one kind, served at once. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Box } from "./testing/boxes.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let token = "";
beforeAll(async () => {
  stack = await startApiStack({ more: [Box] });
  token = stack.pki.tokens.addUser({ name: "admin", groups: ["system:masters"] });
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
});

type Version = "v1" | "v1alpha1";
const path = (version: Version, rest = "") => `/apis/vireo.dev/${version}/namespaces/default/boxes${rest}`;
async function call(
  method: string,
  version: Version,
  rest: string,
  body?: unknown,
  type = "application/json",
) {
  const answer = await raw(stack, method, path(version, rest), {
    token,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": type } }),
  });
  return { code: answer.code, body: answer.body, warning: answer.headers.warning };
}
const box = (version: Version, name: string, spec: object, metadata: object = {}) => ({
  apiVersion: `vireo.dev/${version}`,
  kind: "Box",
  metadata: { name, ...metadata },
  spec,
});
const MERGE = "application/merge-patch+json";
const APPLY = "application/apply-patch+yaml";

describe("a kind in two versions", () => {
  it("is written and read in either, with what each calls its fields", async () => {
    const made = await call("POST", "v1alpha1", "", box("v1alpha1", "a", { ram: 64 }));
    expect(made).toMatchObject({
      code: 201,
      body: { apiVersion: "vireo.dev/v1alpha1", spec: { ram: 64, mode: "a" } },
    });
    expect(String(made.warning)).toContain("is deprecated; use v1");
    expect((await call("GET", "v1", "/a")).body).toMatchObject({
      apiVersion: "vireo.dev/v1",
      spec: { memory: "64Mi" },
    });
    await call("PATCH", "v1", "/a", { spec: { memory: "128Mi" } }, MERGE);
    const old = (await call("GET", "v1alpha1", "/a")).body;
    expect(old).toMatchObject({ spec: { ram: 128 }, metadata: { generation: 2 } });
    expect(await call("PUT", "v1alpha1", "/a", { ...old, spec: { ram: 256 } })).toMatchObject({
      code: 200,
      body: { spec: { ram: 256 } },
    });
    expect((await call("PUT", "v1alpha1", "/a", { ...old, spec: { ram: 1 } })).body).toMatchObject({
      reason: "Conflict",
    });
    await call(
      "PATCH",
      "v1alpha1",
      "/a",
      [{ op: "replace", path: "/spec/ram", value: 32 }],
      "application/json-patch+json",
    );
    await call("PATCH", "v1alpha1", "/a/status", { status: { phase: "Up" }, spec: { ram: 1 } }, MERGE);
    expect((await call("GET", "v1", "/a")).body).toMatchObject({
      spec: { memory: "32Mi" },
      status: { phase: "Up" },
    });
    expect((await call("GET", "v1alpha1", "")).body).toMatchObject({
      kind: "BoxList",
      apiVersion: "vireo.dev/v1alpha1",
      items: [{ spec: { ram: 32 } }],
    });
  });

  it("is stored in one", async () => {
    await expect(stack.service.get(Box, "default", "a")).resolves.toMatchObject({
      apiVersion: "vireo.dev/v1",
      spec: { memory: "32Mi" },
    });
  });

  it("refuses what is wrong with the names of the version", async () => {
    expect((await call("POST", "v1alpha1", "", box("v1alpha1", "x", { ram: 0 }))).body).toMatchObject({
      reason: "Invalid",
      details: { causes: [{ field: "spec.ram" }] },
    });
    expect(
      (
        await call(
          "POST",
          "v1alpha1",
          "?fieldValidation=Strict",
          box("v1alpha1", "x", { ram: 1, memory: "1Mi" }),
        )
      ).body.message,
    ).toContain('unknown field "spec.memory"');
    expect((await call("POST", "v1alpha1", "", box("v1", "x", { memory: "1Mi" }))).code).toBe(400);
    expect((await call("GET", "v1alpha1", "?fieldSelector=status.phase%3DUp")).body.message).toContain(
      "field label not supported",
    );
  });

  it("tells who has set what in the stored version, whichever was written", async () => {
    expect(
      (await call("PATCH", "v1alpha1", "/s?fieldManager=one", box("v1alpha1", "s", { ram: 64 }), APPLY)).code,
    ).toBe(201);
    const conflict = await call(
      "PATCH",
      "v1",
      "/s?fieldManager=two",
      box("v1", "s", { memory: "1Mi" }),
      APPLY,
    );
    expect(conflict.body).toMatchObject({
      reason: "Conflict",
      details: { causes: [{ field: ".spec.memory" }] },
    });
    // The same manager goes on in the other version.
    await call("PATCH", "v1", "/s?fieldManager=one", box("v1", "s", { memory: "96Mi", mode: "b" }), APPLY);
    const { body } = await call(
      "PATCH",
      "v1alpha1",
      "/s?fieldManager=one",
      box("v1alpha1", "s", { ram: 96 }),
      APPLY,
    );
    expect(body).toMatchObject({ spec: { ram: 96, mode: "a" } });
    expect(body.metadata).toMatchObject({
      managedFields: [
        {
          manager: "one",
          operation: "Apply",
          apiVersion: "vireo.dev/v1",
          fieldsV1: { "f:spec": { "f:memory": {} } },
        },
      ],
    });
  });

  it("understands ownership that was recorded in the other version", async () => {
    await call("POST", "v1", "", box("v1", "m", { memory: "64Mi", mode: "b" }));
    const entry = (fields: object) => ({
      manager: "one",
      operation: "Apply",
      apiVersion: "vireo.dev/v1alpha1",
      fieldsType: "FieldsV1",
      fieldsV1: { "f:spec": fields },
    });
    const managedFields = [entry({ "f:ram": {}, "f:mode": {} })];
    await call("PATCH", "v1", "/m", { metadata: { managedFields } }, MERGE);
    const conflict = await call(
      "PATCH",
      "v1",
      "/m?fieldManager=two",
      box("v1", "m", { memory: "1Mi" }),
      APPLY,
    );
    expect(conflict.body).toMatchObject({ details: { causes: [{ field: ".spec.ram" }] } });
    await call("PATCH", "v1", "/m?fieldManager=two&force=true", box("v1", "m", { memory: "1Mi" }), APPLY);
    const { body } = await call("GET", "v1", "/m");
    expect(body.metadata).toMatchObject({ managedFields: [entry({ "f:mode": {} }), { manager: "two" }] });
    // What it applied then in that version, and does not now in this one, goes.
    const pruned = await call(
      "PATCH",
      "v1",
      "/m?fieldManager=one",
      box("v1", "m", {}, { labels: { x: "y" } }),
      APPLY,
    );
    expect(pruned.body).toMatchObject({ spec: { memory: "1Mi", mode: "a" } });
  });

  it("is watched in either", async () => {
    const list = (await call("GET", "v1alpha1", "")).body;
    const from = String(Reflect.get(Object(list.metadata), "resourceVersion"));
    await call("PATCH", "v1", "/a", { spec: { memory: "48Mi" } }, MERGE);
    const { text } = await raw(
      stack,
      "GET",
      path("v1alpha1", `?watch=true&timeoutSeconds=1&resourceVersion=${from}`),
      { token },
    );
    expect(JSON.parse(text.split("\n")[0] ?? "")).toMatchObject({
      type: "MODIFIED",
      object: { apiVersion: "vireo.dev/v1alpha1", spec: { ram: 48 } },
    });
  });

  it("is in discovery, preferring the stored version, in OpenAPI and among the definitions", async () => {
    const get = async (page: string, accept = "application/json") =>
      JSON.parse((await raw(stack, "GET", page, { token, headers: { accept } })).text);
    const group = await get("/apis/vireo.dev");
    expect(group.versions.map(({ version }: { version: string }) => version)).toEqual([
      "v1",
      "v2",
      "v1alpha1",
    ]);
    expect(group.preferredVersion.version).toBe("v1");
    expect(
      (await get("/apis/vireo.dev/v1alpha1")).resources.map(({ name }: { name: string }) => name),
    ).toEqual(["boxes", "boxes/status"]);
    const { components } = await get("/openapi/v3/apis/vireo.dev/v1alpha1");
    expect(components.schemas["dev.vireo.v1alpha1.Box"].properties.spec.properties).toHaveProperty("ram");
    const crd = await get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boxes.vireo.dev");
    expect(
      crd.spec.versions.map(({ name, storage }: { name: string; storage: boolean }) => [name, storage]),
    ).toEqual([
      ["v1", true],
      ["v1alpha1", false],
    ]);
    const table = await get(path("v1alpha1"), "application/json;as=Table;v=v1;g=meta.k8s.io");
    expect(table.columnDefinitions.map(({ name }: { name: string }) => name)).toContain("RAM");
  });

  it("is deleted in either", async () => {
    expect((await call("DELETE", "v1alpha1", "/a")).body).toMatchObject({ status: "Success" });
    expect((await call("GET", "v1", "/a")).code).toBe(404);
  });
});
