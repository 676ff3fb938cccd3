/**
 * What clients ask that are not run in these tests: requests, and what they do with the answers, as in their sources.
 * Terraform's kubernetes_manifest: hashicorp/terraform-provider-kubernetes, folder manifest/ (openapi/schema_v2.go, provider/resource.go,
 * plan.go, apply.go). Flux' kustomize-controller: fluxcd/pkg/ssa; health by kstatus of kubernetes-sigs/cli-utils (generic objects).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fields, isFields } from "../resource/fields.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let token: string;
beforeAll(async () => {
  stack = await startApiStack();
  token = stack.pki.tokens.addUser({ name: "gitops", groups: ["system:masters"] });
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
});

async function ask(method: string, path: string, body?: object) {
  const type = "application/apply-patch+yaml";
  const sent = body ? { body: JSON.stringify(body), headers: { "content-type": type } } : {};
  const answer = await raw(stack, method, path, { token, ...sent });
  return { code: answer.code, body: fieldsOf(answer.body) };
}
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
const vm = (name: string, spec: object, more: object = {}) => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name, namespace: "default", ...more },
  spec: { memory: "192Mi", image: "web", ...spec },
});

describe("Terraform: kubernetes_manifest", () => {
  /** Where the provider would find no type for a schema, by its rules. */
  function untyped(schema: Fields, path: string): string[] {
    const { type, properties, items, additionalProperties } = schema;
    if (["string", "boolean", "number", "integer", undefined].includes(type as string)) return [];
    if (type === "array") return isFields(items) ? untyped(items, `${path}[]`) : [path];
    if (type !== "object") return [path];
    if (isFields(properties))
      return additionalProperties === undefined
        ? Object.entries(properties).flatMap(([key, field]) => untyped(fieldsOf(field), `${path}.${key}`))
        : [path];
    return isFields(additionalProperties) ? untyped(additionalProperties, `${path}{}`) : [];
  }

  it("finds the type of each kind among the CustomResourceDefinitions, and that of metadata in the OpenAPI v2", async () => {
    expect((await ask("GET", "/apis")).code).toBe(200);
    const { body } = await ask("GET", "/openapi/v2");
    const meta = fieldsOf(body.definitions)["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
    expect(untyped(fieldsOf(meta), "metadata")).toEqual([]);
    const definitions = await ask("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
    const kinds = listOf(definitions.body.items).map((item) => fieldsOf(fieldsOf(item).spec));
    expect(kinds.map(({ names }) => fieldsOf(names).kind)).toContain("VirtualMachine");
    for (const { names, versions } of kinds)
      for (const version of listOf(versions)) {
        const schema = fieldsOf(fieldsOf(fieldsOf(version).schema).openAPIV3Schema);
        expect(schema.properties).toBeDefined();
        expect(untyped(schema, String(fieldsOf(names).kind))).toEqual([]);
      }
  });

  it("applies: what comes back is what was planned, and applied again nothing changes", async () => {
    const path = `${VMS}/web-3`;
    const apply = `${path}?fieldManager=Terraform&force=false`;
    const planned = vm("web-3", { cpus: 2, readiness: { http: { port: 80 } } }, { labels: { app: "shop" } });
    expect((await ask("GET", path)).code).toBe(404);
    const made = await ask("PATCH", apply, planned);
    expect(made.code).toBe(201);
    // Else: "Provider produced inconsistent result after apply".
    expect(made.body).toMatchObject(planned);
    const again = await ask("PATCH", apply, planned);
    expect(again).toEqual({ code: 200, body: made.body });
    const changed = await ask("PATCH", apply, vm("web-3", { cpus: 4 }));
    // What is taken out of the configuration goes.
    expect(changed.body).toMatchObject({ spec: { cpus: 4 } });
    expect(fieldsOf(changed.body.spec).readiness).toBeUndefined();
    expect(fieldsOf(changed.body.metadata).labels).toBeUndefined();
    await ask("PATCH", `${path}?fieldManager=kubectl&force=true`, vm("web-3", { cpus: 1 }));
    const conflict = await ask("PATCH", apply, vm("web-3", { cpus: 4 }));
    expect(conflict).toMatchObject({ code: 409, body: { reason: "Conflict" } });
    expect(conflict.body.message).toContain('conflict with "kubectl": .spec.cpus');
    expect((await ask("DELETE", path)).code).toBe(200);
    expect((await ask("GET", path)).code).toBe(404);
  });
});

describe("Flux: kustomize-controller", () => {
  /** kstatus: InProgress until what was seen is the newest and Ready is True. */
  function kstatus({ metadata, status }: Fields): string {
    const { observedGeneration, conditions } = fieldsOf(status);
    if (observedGeneration !== undefined && observedGeneration !== fieldsOf(metadata).generation)
      return "InProgress";
    const ready = listOf(conditions)
      .map(fieldsOf)
      .find(({ type }) => type === "Ready");
    return ready === undefined || ready.status === "True" ? "Current" : "InProgress";
  }

  it("sees by a dry run what would change, applies it, and waits for health", async () => {
    const path = `${VMS}/web-4`;
    const apply = (dry: boolean) =>
      `${path}?fieldManager=kustomize-controller&force=true${dry ? "&dryRun=All" : ""}`;
    const wanted = vm("web-4", { cpus: 2 }, { labels: { "kustomize.toolkit.fluxcd.io/name": "shop" } });
    expect((await ask("PATCH", apply(true), wanted)).code).toBe(201);
    expect((await ask("GET", path)).code).toBe(404);
    const made = await ask("PATCH", apply(false), wanted);
    expect(made.code).toBe(201);
    const version = fieldsOf(made.body.metadata).resourceVersion;
    // No drift: the dry run gives what there is.
    expect((await ask("PATCH", apply(true), wanted)).body).toEqual(made.body);
    const status = (observedGeneration: number, ready: string) =>
      ask("PATCH", `${path}/status?fieldManager=vireo&force=true`, {
        ...vm("web-4", {}),
        spec: undefined,
        status: {
          observedGeneration,
          conditions: [
            {
              type: "Ready",
              status: ready,
              reason: "Test",
              message: "",
              lastTransitionTime: "2026-01-01T00:00:00Z",
            },
          ],
        },
      });
    expect(kstatus((await status(1, "False")).body)).toBe("InProgress");
    expect(kstatus((await status(1, "True")).body)).toBe("Current");
    await ask("PATCH", apply(false), { ...wanted, spec: { ...wanted.spec, cpus: 4 } });
    const { body } = await ask("GET", path);
    expect(fieldsOf(body.metadata).resourceVersion).not.toBe(version);
    expect(kstatus(body)).toBe("InProgress");
    expect(kstatus((await status(2, "True")).body)).toBe("Current");
    // What has gone from the source is found by its label, and pruned.
    const chosen = await ask("GET", `${VMS}?labelSelector=kustomize.toolkit.fluxcd.io%2Fname%3Dshop`);
    expect(listOf(chosen.body.items)).toHaveLength(1);
    expect((await ask("DELETE", `${path}?propagationPolicy=Background`)).code).toBe(200);
  });
});
