/** Roles and bindings: what rules allow, over the real server, and that nobody gives away more than he has. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HttpClient } from "../client/http.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Policy } from "../director/kinds.ts";
import { Namespace } from "./namespaces.ts";
import { allows, allowsPath, isSubject, missing, type Rule } from "./rbac.ts";
import { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from "./rbac-kinds.ts";
import { failure } from "./testing/machines.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const rule = (verbs: string[], resources: string[], more: Partial<Rule> = {}): Rule => ({
  verbs,
  apiGroups: ["vireo.dev"],
  resources,
  ...more,
});
const ask = (verb: string, resource: string, name = "", subresource?: string) => ({
  verb,
  group: "vireo.dev",
  resource,
  name,
  subresource,
});

describe("a rule", () => {
  it.each([
    [rule(["get"], ["virtualmachines"]), ask("get", "virtualmachines", "a"), true],
    [rule(["get"], ["virtualmachines"]), ask("list", "virtualmachines"), false],
    [rule(["*"], ["*"]), ask("delete", "hosts", "a"), true],
    [rule(["get"], ["virtualmachines"]), ask("get", "virtualmachines", "a", "status"), false],
    [rule(["get"], ["virtualmachines/status"]), ask("get", "virtualmachines", "a", "status"), true],
    [rule(["get"], ["*/status"]), ask("get", "hosts", "a", "status"), true],
    [rule(["get"], ["*/status"]), ask("get", "hosts", "a"), false],
    [rule(["get"], ["hosts"], { resourceNames: ["a"] }), ask("get", "hosts", "a"), true],
    [rule(["get"], ["hosts"], { resourceNames: ["a"] }), ask("get", "hosts", "b"), false],
    [rule(["list"], ["hosts"], { resourceNames: ["a"] }), ask("list", "hosts"), false],
    [rule(["get"], ["hosts"], { apiGroups: [""] }), ask("get", "hosts", "a"), false],
    [{ verbs: ["get"], nonResourceURLs: ["/x"] }, ask("get", "hosts", "a"), false],
  ])("%j on %j: %j", (given, asked, expected) => {
    expect(allows(given, asked)).toBe(expected);
  });
  it("for paths takes a star at the end", () => {
    const paths = { verbs: ["get"], nonResourceURLs: ["/metrics", "/logs/*"] };
    expect(
      ["/metrics", "/logs/a", "/log", "/metrics/a"].map((path) => allowsPath(paths, "get", path)),
    ).toEqual([true, true, false, false]);
  });
  it("cannot be given away in parts that are not owned", () => {
    const owned = [rule(["get", "list"], ["*"]), rule(["create"], ["virtualmachines"])];
    expect(missing(owned, [rule(["get"], ["hosts"]), rule(["create"], ["virtualmachines"])])).toEqual([]);
    expect(missing(owned, [rule(["get", "delete"], ["hosts"])])).toEqual([rule(["delete"], ["hosts"])]);
    expect(missing(owned, [rule(["*"], ["virtualmachines"])])).toHaveLength(1);
    expect(
      missing([rule(["get"], ["hosts"], { resourceNames: ["a"] })], [rule(["get"], ["hosts"])]),
    ).toHaveLength(1);
    expect(missing([rule(["get"], ["hosts/status"])], [rule(["get"], ["hosts/status"])])).toEqual([]);
  });
  it("is for users, groups and service accounts", () => {
    const user = { name: "eve", groups: ["dev"] };
    expect(isSubject({ kind: "User", name: "eve" }, user, undefined)).toBe(true);
    expect(isSubject({ kind: "Group", name: "ops" }, user, undefined)).toBe(false);
    const account = { name: "system:serviceaccount:ci:bot", groups: [] };
    expect(isSubject({ kind: "ServiceAccount", name: "bot", namespace: "ci" }, account, "x")).toBe(true);
    expect(isSubject({ kind: "ServiceAccount", name: "bot", namespace: "cd" }, account, "ci")).toBe(false);
  });
});

describe("over the API", () => {
  let stack: ApiStack;
  let admin: HttpClient;
  beforeAll(async () => {
    stack = await startApiStack();
    admin = stack.admin();
    for (const name of ["shop", "bank"]) await admin.create(Namespace, { metadata: { name }, spec: {} });
  });
  afterAll(() => stack[Symbol.asyncDispose]());

  const as = (name: string, groups: string[] = []) =>
    stack.client({ token: stack.pki.tokens.addUser({ name, groups }) });
  const vm = (namespace: string, name = "a") => ({ name, namespace });
  const create = (client: HttpClient, namespace: string, name?: string) =>
    client.create(VirtualMachine, { metadata: vm(namespace, name), spec: { memory: "64Mi", image: "x" } });
  // The kinds are untyped beyond their metadata.
  const make = (
    client: HttpClient,
    kind: typeof Role,
    namespace: string | undefined,
    name: string,
    fields: object,
  ) => {
    const at = namespace ? `/namespaces/${namespace}` : "";
    const path = `/apis/${kind.group}/v1${at}/${kind.plural}`;
    return client.raw("POST", path, {
      apiVersion: `${kind.group}/v1`,
      kind: kind.kind,
      metadata: { name },
      ...fields,
    });
  };
  const bind = (client: HttpClient, namespace: string | undefined, name: string, role: string, who: object) =>
    make(client, namespace ? RoleBinding : ClusterRoleBinding, namespace, name, {
      roleRef: { kind: "ClusterRole", name: role },
      subjects: [who],
    });

  it("nobody may do anything that no binding gives, and the error says who may not do what", async () => {
    const error = await failure(create(as("nobody"), "default"));
    expect(error.reason).toBe("Forbidden");
    expect(error.message).toMatch(
      /^virtualmachines\.vireo\.dev "a" is forbidden: User "nobody" cannot create resource "virtualmachines" in API group "vireo\.dev" in the namespace "default": no rule of its roles allows it|^virtualmachines\.vireo\.dev is forbidden: User "nobody"/,
    );
  });

  it("a role given in a project counts there, and only there, and at once", async () => {
    const eve = as("eve");
    await bind(admin, "shop", "eve", "edit", { kind: "User", name: "eve" });
    await create(eve, "shop");
    await eve.patch(VirtualMachine, vm("shop"), { metadata: { labels: { a: "b" } } });
    expect((await failure(create(eve, "bank"))).reason).toBe("Forbidden");
    expect((await failure(eve.list(VirtualMachine))).reason).toBe("Forbidden");
    expect((await eve.list(VirtualMachine, { namespace: "shop" })).items).toHaveLength(1);
    expect((await failure(eve.list(Host))).reason).toBe("Forbidden");
    await admin.raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: { verb: "get", group: "vireo.dev", resource: "hosts" } },
    });
    const binding = { name: "eve", namespace: "shop" };
    await admin.delete(RoleBinding, binding);
    expect((await failure(create(eve, "shop", "c"))).reason).toBe("Forbidden");
  });

  it("a role given everywhere counts everywhere", async () => {
    const group = { kind: "Group", name: "auditors" };
    await bind(admin, undefined, "auditors", "view", group);
    const auditor = as("ann", ["auditors"]);
    expect((await auditor.list(Host)).items).toEqual([]);
    await auditor.list(VirtualMachine);
    expect((await failure(create(auditor, "default"))).reason).toBe("Forbidden");
  });

  it("who manages a project gives others what he has, and no more", async () => {
    await bind(admin, "shop", "lead", "admin", { kind: "User", name: "lead" });
    const lead = as("lead");
    await bind(lead, "shop", "helper", "edit", { kind: "User", name: "helper" });
    await create(as("helper"), "shop", "d");
    const error = await failure(bind(lead, "shop", "boss", "cluster-admin", { kind: "User", name: "lead" }));
    expect(error.message).toContain('User "lead" is attempting to grant permissions not currently held: * *');
    const rules = [{ verbs: ["get"], apiGroups: ["vireo.dev"], resources: ["policies"] }];
    await make(lead, Role, "shop", "reader", { rules });
    const more = [{ verbs: ["update"], apiGroups: ["vireo.dev"], resources: ["hosts"] }];
    expect((await failure(make(lead, Role, "shop", "more", { rules: more }))).message).toContain(
      "not currently held: update hosts.vireo.dev",
    );
    // Nor by the back door of a patch.
    const patched = await failure(lead.patch(Role, { name: "reader", namespace: "shop" }, { rules: more }));
    expect(patched.message).toContain("not currently held");
    await lead.patch(Role, { name: "reader", namespace: "shop" }, { metadata: { labels: { a: "b" } } });
    expect((await failure(bind(lead, undefined, "all", "view", { kind: "User", name: "lead" }))).reason).toBe(
      "Forbidden",
    );
    expect((await failure(lead.list(Policy, { namespace: "bank" }))).reason).toBe("Forbidden");
  });

  it("roles that are applied stay with who applies them, and give no more than he has", async () => {
    await bind(admin, "shop", "gitops", "admin", { kind: "User", name: "gitops" });
    const token = stack.pki.tokens.addUser({ name: "gitops", groups: [] });
    const path = `/apis/${Role.group}/v1/namespaces/shop/roles/applied?fieldManager=gitops`;
    const apply = (verbs: string[], resource: string) =>
      raw(stack, "PATCH", path, {
        token,
        headers: { "content-type": "application/apply-patch+yaml" },
        body: JSON.stringify({
          apiVersion: `${Role.group}/v1`,
          kind: "Role",
          metadata: { name: "applied" },
          rules: [{ verbs, apiGroups: ["vireo.dev"], resources: [resource] }],
        }),
      });
    expect((await apply(["get"], "policies")).code).toBe(201);
    for (const verbs of [["list"], ["watch"]]) {
      const { code, body } = await apply(verbs, "policies");
      expect([code, body.rules]).toEqual([
        200,
        [{ verbs, apiGroups: ["vireo.dev"], resources: ["policies"] }],
      ]);
      expect(body.metadata).toMatchObject({ managedFields: [{ manager: "gitops", operation: "Apply" }] });
    }
    expect((await apply(["update"], "hosts")).body.message).toContain(
      "not currently held: update hosts.vireo.dev",
    );
  });

  it("what of a policy binds hosts for all namespaces is for who may write policies in the whole cluster", async () => {
    await bind(admin, "shop", "project", "admin", { kind: "User", name: "project" });
    await bind(admin, undefined, "estate", "edit", { kind: "User", name: "estate" });
    const [project, estate] = [as("project"), as("estate")];
    const at = { name: "p", namespace: "shop" };
    const overcommit = { memory: 0.5 };
    const failover = { per: "host" as const, losses: 1 };
    const refused = async (write: Promise<unknown>, fields: string) => {
      const { reason, message } = await failure(write);
      expect([reason, message]).toEqual([
        "Forbidden",
        `policies.vireo.dev "p" is forbidden: User "project" cannot set, change or remove ${fields}, which binds hosts for all namespaces: that is for who may update policies.vireo.dev in the whole cluster (by a ClusterRoleBinding)`,
      ]);
    };
    await refused(
      project.create(Policy, { metadata: at, spec: { selector: {}, overcommit, failover } }),
      "spec.overcommit and spec.failover",
    );
    const made = await project.create(Policy, { metadata: at, spec: { selector: {} } });
    await refused(project.update(Policy, { ...made, spec: { ...made.spec, overcommit } }), "spec.overcommit");
    await refused(project.patch(Policy, at, { spec: { failover } }), "spec.failover");
    const config = { apiVersion: "vireo.dev/v2", kind: "Policy", metadata: { name: "p" } };
    const applied = project.request({
      method: "PATCH",
      path: "/apis/vireo.dev/v2/namespaces/shop/policies/p?fieldManager=x",
      body: { ...config, spec: { selector: {}, failover } },
      contentType: "application/apply-patch+yaml",
    });
    await refused(applied, "spec.failover");
    await estate.patch(Policy, at, { spec: { failover } });
    // The rest of it stays the project's.
    const more = await project.patch(Policy, at, { spec: { priority: 3 } });
    expect(more.spec).toMatchObject({ failover, priority: 3 });
    await refused(project.patch(Policy, at, { spec: { failover: { losses: 2 } } }), "spec.failover");
    const { failover: _, ...without } = more.spec;
    await refused(project.update(Policy, { ...more, spec: without }), "spec.failover");
    await refused(project.delete(Policy, at), "spec.failover");
    const owner = {
      apiVersion: "vireo.dev/v1",
      kind: "VirtualMachine",
      name: "own",
      uid: "of one that goes",
    };
    await refused(project.patch(Policy, at, { metadata: { ownerReferences: [owner] } }), "spec.failover");
    await refused(
      project.request({ method: "DELETE", path: "/apis/vireo.dev/v2/namespaces/shop/policies" }),
      "spec.failover",
    );
    await admin.patch(Policy, at, { spec: { failover: null, overcommit } });
    await estate.patch(Policy, at, { spec: { overcommit: null } });
    await project.delete(Policy, at);
  });

  it("a binding's role cannot be changed", async () => {
    await bind(admin, "shop", "fixed", "view", { kind: "User", name: "x" });
    const error = await failure(
      admin.patch(RoleBinding, { name: "fixed", namespace: "shop" }, { roleRef: { name: "edit" } }),
    );
    expect(error.message).toContain("cannot change roleRef: delete the binding and make it anew");
  });

  it("the built-in roles are there", async () => {
    const { items } = await admin.list(ClusterRole);
    expect(items.map(({ metadata }) => metadata.name)).toEqual([
      "admin",
      "cluster-admin",
      "edit",
      "monitoring",
      "view",
    ]);
  });

  it("the agents of hosts read what they need, and no machines or roles", async () => {
    const host = await stack.host("h1");
    await host.list(Host);
    expect((await failure(host.list(VirtualMachine))).reason).toBe("Forbidden");
    expect((await failure(host.list(Policy))).reason).toBe("Forbidden");
    expect((await failure(host.list(ClusterRole))).reason).toBe("Forbidden");
  });
});
