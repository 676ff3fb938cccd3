/** The subresource scale, on a kind made for it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HttpClient } from "../client/http.ts";
import { register } from "../resource/kind.ts";
import { MachineSet } from "./testing/machines.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let admin: HttpClient;
let token = "";
beforeAll(async () => {
  stack = await startApiStack({ more: [register(MachineSet)] });
  admin = stack.admin();
  token = stack.pki.tokens.addUser({ name: "admin", groups: ["system:masters"] });
  await admin.create(MachineSet, { metadata: at("web"), spec: { replicas: 2 } });
  await admin.patch(
    MachineSet,
    at("web"),
    { status: { replicas: 1, selector: "app=web" } },
    { subresource: "status" },
  );
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
});

const at = (name: string) => ({ name, namespace: "default" });
const path = (name: string) => `/apis/vireo.dev/v1/namespaces/default/machinesets/${name}/scale`;
const call = (method: string, name: string, body?: unknown, type = "application/json") =>
  raw(stack, method, `${path(name)}?fieldManager=test`, {
    token,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": type } }),
  });
const MERGE = "application/merge-patch+json";
const JSON_PATCH = "application/json-patch+json";

describe("scale", () => {
  it("is the object's number, in the form that all kinds share", async () => {
    const { code, body } = await call("GET", "web");
    expect(code).toBe(200);
    expect(body).toMatchObject({
      apiVersion: "autoscaling/v1",
      kind: "Scale",
      metadata: { name: "web", namespace: "default" },
      spec: { replicas: 2 },
      status: { replicas: 1, selector: "app=web" },
    });
    expect((await call("GET", "none")).body).toMatchObject({
      reason: "NotFound",
      message: 'machinesets.vireo.dev "none" not found',
    });
  });

  it("is changed by merge patch, JSON patch and PUT, and recorded as a write to it", async () => {
    expect((await call("PATCH", "web", { spec: { replicas: 3 } }, MERGE)).body).toMatchObject({
      kind: "Scale",
      spec: { replicas: 3 },
    });
    await call("PATCH", "web", [{ op: "replace", path: "/spec/replicas", value: 4 }], JSON_PATCH);
    expect((await admin.get(MachineSet, at("web")))?.spec.replicas).toBe(4);
    const { body: scale } = await call("GET", "web");
    expect((await call("PUT", "web", { ...scale, spec: { replicas: 5 } })).code).toBe(200);
    const object = await admin.get(MachineSet, at("web"));
    expect(object).toMatchObject({
      metadata: { generation: 4 },
      spec: { replicas: 5 },
      status: { replicas: 1 },
    });
    expect(object?.metadata.managedFields).toContainEqual(
      expect.objectContaining({
        manager: "test",
        operation: "Update",
        subresource: "scale",
        fieldsV1: { "f:spec": { "f:replicas": {} } },
      }),
    );
    // Of an older version now.
    expect((await call("PUT", "web", { ...scale, spec: { replicas: 6 } })).body).toMatchObject({
      reason: "Conflict",
    });
  });

  it("loses no race that the client has not asked to lose", async () => {
    const answers = await Promise.all(
      [6, 7, 8].map((replicas) => call("PATCH", "web", { spec: { replicas } }, MERGE)),
    );
    expect(answers.map(({ code }) => code)).toEqual([200, 200, 200]);
  });

  it("refuses what is no number, what the kind refuses, and other types of patches", async () => {
    for (const replicas of [-1, 1.5, "3"])
      expect((await call("PATCH", "web", { spec: { replicas } }, MERGE)).body).toMatchObject({
        code: 422,
        message: expect.stringContaining("spec.replicas: Invalid value"),
      });
    expect((await call("PATCH", "web", { spec: { replicas: 101 } }, MERGE)).body).toMatchObject({
      reason: "Invalid",
    });
    expect((await call("PATCH", "web", {}, "application/apply-patch+yaml")).code).toBe(415);
    expect((await call("DELETE", "web")).code).toBe(405);
    expect(
      (await raw(stack, "GET", "/apis/vireo.dev/v1/namespaces/default/virtualmachines/x/scale", { token }))
        .code,
    ).toBe(404);
  });

  it("is in discovery and OpenAPI", async () => {
    const { text } = await raw(stack, "GET", "/apis/vireo.dev/v1", { token });
    expect(JSON.parse(text).resources).toContainEqual({
      name: "machinesets/scale",
      singularName: "",
      namespaced: true,
      group: "autoscaling",
      version: "v1",
      kind: "Scale",
      verbs: ["get", "patch", "update"],
    });
    const v3 = await raw(stack, "GET", "/openapi/v3/apis/vireo.dev/v1", { token });
    const scale = JSON.parse(v3.text).paths[
      "/apis/vireo.dev/v1/namespaces/{namespace}/machinesets/{name}/scale"
    ];
    expect(scale.put["x-kubernetes-group-version-kind"]).toEqual({
      group: "autoscaling",
      version: "v1",
      kind: "Scale",
    });
  });
});
