/**
 * Real kubectl against a real server: what a user types on the first day. Runs with the kubectl found first on PATH and with
 * Debian's 1.20 (package kubernetes-client), when it is there under another path.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Event } from "../reconcile/kinds.ts";
import { KUBECTLS, Kubectl } from "./testing/kubectl.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

it("there is a kubectl to test with", () => {
  expect(KUBECTLS, "install Debian's package kubernetes-client").not.toEqual([]);
});

describe.each(KUBECTLS)("%s", (path) => {
  let stack: ApiStack;
  let kubectl: Kubectl;
  let minor = 0;
  beforeAll(async () => {
    stack = await startApiStack();
    kubectl = new Kubectl(path, stack);
    minor = await kubectl.minor();
  });
  afterAll(async () => {
    expect(stack.errors).toEqual([]);
    await stack[Symbol.asyncDispose]();
  });

  const run = (args: string[], extra?: Record<string, string>) => kubectl.run(args, extra);
  const k = (...args: string[]) => kubectl.ok(...args);
  const manifest = (name: string, text: string) => kubectl.manifest(name, text);
  const vm = (name: string, cpus: number, more = "") =>
    manifest(
      name,
      `apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata:\n  name: ${name}\n  labels: {app: shop}\nspec:\n  cpus: ${cpus}\n  memory: 64Mi\n  image: shop\n${more}`,
    );

  it("version, api-resources, api-versions, explain", async () => {
    expect(await k("version", "-o", "json")).toContain("+vireo.");
    const resources = await k("api-resources", "--no-headers");
    expect(resources).toMatch(/virtualmachines +vm,vms +vireo.dev\/v1 +true +VirtualMachine/);
    expect(resources).toMatch(/hosts +vireo.dev\/v1 +false +Host/);
    expect(await k("api-versions")).toContain("vireo.dev/v1\n");
    expect(await k("explain", "vm.spec.memory")).toContain("Memory of the machine.");
    expect(await k("explain", "vm.spec", "--recursive")).toContain("storagePool");
    expect(await k("explain", "vm.metadata.finalizers")).toContain("The object stays until");
  });

  it("apply, get in all forms", async () => {
    expect(await k("apply", "-f", vm("web", 2))).toContain("web created");
    expect(await k("apply", "-f", vm("web", 2))).toContain("web unchanged");
    expect(await k("apply", "-f", vm("web", 3))).toContain("web configured");
    expect(await k("create", "-f", vm("db", 1))).toContain("db created");
    const table = await k("get", "vm");
    expect(table.split("\n")[0]?.trim().split(/ +/)).toEqual([
      "NAME",
      "PHASE",
      "HOST",
      "ADDRESS",
      "CPUS",
      "MEMORY",
      "AGE",
    ]);
    expect(table).toMatch(/web +3 +64Mi +\d+s/);
    expect((await k("get", "vm", "-o", "wide")).split("\n")[0]).toContain("IMAGE");
    expect(await k("get", "vm", "web", "-o", "yaml")).toContain("cpus: 3\n");
    expect(JSON.parse(await k("get", "vm", "-o", "json"))).toMatchObject({ kind: "List", items: [{}, {}] });
    expect(await k("get", "vm", "-A", "--no-headers")).toMatch(/^default +db/);
    expect(await k("get", "vm", "-l", "app in (shop),!x", "-o", "name")).toBe(
      "virtualmachine.vireo.dev/db\nvirtualmachine.vireo.dev/web\n",
    );
    expect((await run(["get", "vm", "-l", "app=x"])).err).toContain("No resources found");
    expect(await k("get", "vm", "--chunk-size=1", "-o", "name")).toMatch(/db\n.*web\n/);
    expect(await k("get", "vm", "--sort-by=.spec.cpus", "--no-headers")).toMatch(/db.*\n.*web/);
    expect(await k("get", "all", "-o", "name")).toContain("virtualmachine.vireo.dev/web");
    expect(await k("get", "ns", "-o", "name")).toBe("namespace/default\n");
    expect(await k("get", "crd", "-o", "name")).toContain("virtualmachines.vireo.dev");
    expect(await k("describe", "vm", "web")).toContain("Memory:  64Mi");
  });

  it("prints conditions and nested fields in columns, selects by fields", async () => {
    const admin = stack.admin();
    const host = await admin.create(Host, { metadata: { name: "h1" }, spec: {} });
    const time = new Date().toISOString();
    const ready = {
      type: "Ready",
      status: "True",
      reason: "Up",
      message: "",
      lastTransitionTime: time,
    } as const;
    await admin.updateStatus(Host, {
      ...host,
      status: { capacity: { cpus: 8, memory: "1Gi" }, conditions: [ready] },
    });
    expect(await k("get", "hosts", "--no-headers")).toMatch(/h1 +True +8 +1Gi/);
    const web = { name: "web", namespace: "default" };
    const interfaces = [{ network: "default", mac: "02:00:00:00:00:01", address: "10.1.2.3" }];
    await admin.patch(
      VirtualMachine,
      web,
      { status: { phase: "Running", interfaces } },
      { subresource: "status" },
    );
    expect(await k("get", "vm", "web", "--no-headers")).toMatch(/web +Running +10\.1\.2\.3/);
    expect(await k("get", "vm", "--field-selector", "status.phase=Running", "-o", "name")).toBe(
      "virtualmachine.vireo.dev/web\n",
    );
    expect((await run(["get", "vm", "--field-selector", "spec.cpus=1"])).err).toContain(
      "field label not supported",
    );
  });

  it("describe and get events tell why", async () => {
    const admin = stack.admin();
    const event = (name: string, about: { kind: string; name: string; namespace?: string; uid?: string }) =>
      admin.create(Event, {
        metadata: { name, namespace: "default" },
        spec: {
          about,
          type: "Warning",
          reason: "OutOfMemory",
          message: `${about.name} ran out of memory`,
          reporter: "agent",
          firstTime: new Date().toISOString(),
          lastTime: "not a time",
          count: 2,
        },
      });
    const vm = await admin.get(VirtualMachine, { name: "web", namespace: "default" });
    await event("e1", {
      kind: "VirtualMachine",
      name: "web",
      namespace: "default",
      uid: vm?.metadata.uid ?? "",
    });
    const host = await admin.get(Host, { name: "h1" });
    await event("e2", { kind: "Host", name: "h1", uid: host?.metadata.uid ?? "" });
    const described = await k("describe", "vm", "web");
    expect(described).toContain("web ran out of memory");
    expect(described).not.toContain("h1 ran out");
    expect(await k("describe", "host", "h1")).toContain("h1 ran out of memory");
    expect(await k("get", "events", "--field-selector", "involvedObject.name=web")).toMatch(
      /OutOfMemory +web +web ran out/,
    );
    expect(await k("get", "events.vireo.dev", "--no-headers")).toMatch(/e1.*\n.*e2/);
  });

  it("get -w shows what happens", async () => {
    const watching = kubectl.start(["get", "vm", "-w", "--no-headers"]);
    try {
      await expect.poll(watching.text, { timeout: 20_000 }).toMatch(/web/);
      await stack
        .admin()
        .patch(
          VirtualMachine,
          { name: "web", namespace: "default" },
          { status: { host: "h1" } },
          { subresource: "status" },
        );
      await expect.poll(watching.text, { timeout: 20_000 }).toMatch(/web +Running +h1/);
    } finally {
      watching.stop();
    }
  });

  it("patch, label, annotate, edit, replace, diff", async () => {
    await k("patch", "vm", "web", "--type=merge", "-p", '{"spec":{"cpus":4}}');
    await k("patch", "vm", "web", "--type=json", "-p", '[{"op":"replace","path":"/spec/cpus","value":5}]');
    expect(await k("get", "vm", "web", "-o", "jsonpath={.spec.cpus}")).toBe("5");
    expect((await run(["patch", "vm", "web", "-p", '{"spec":{"cpus":4}}'])).err).toContain("--type=merge");
    await k("label", "vm", "web", "tier=front");
    await k("annotate", "vm", "web", "note=hello");
    expect(await k("get", "vm", "-l", "tier=front", "-o", "name")).toContain("web");
    await k("label", "vm", "web", "tier-");
    const edited = await run(["edit", "vm", "web"], {
      EDITOR: "sed -i s/cpus:.5/cpus:\\ 6/",
      KUBE_EDITOR: "sed -i s/cpus:.5/cpus:\\ 6/",
    });
    expect([edited.code, edited.out]).toEqual([0, "virtualmachine.vireo.dev/web edited\n"]);
    const whole = manifest(
      "whole",
      (await k("get", "vm", "web", "-o", "yaml")).replace("cpus: 6", "cpus: 7"),
    );
    expect(await k("replace", "-f", whole)).toContain("replaced");
    expect(await k("get", "vm", "web", "-o", "jsonpath={.spec.cpus}")).toBe("7");
    // The same file again is of an older version now.
    const stale = manifest(
      "stale",
      (await k("get", "vm", "web", "-o", "yaml")).replace("cpus: 7", "cpus: 8"),
    );
    await k("label", "vm", "web", "again=1");
    expect((await run(["replace", "-f", stale])).err).toContain("the object has been modified");
    const diff = await run(["diff", "-f", vm("web", 9)]);
    expect(diff.code).toBe(1);
    expect(diff.out).toMatch(/-\s+cpus: 7\n\+\s+cpus: 9/);
    expect(await k("get", "vm", "web", "-o", "jsonpath={.spec.cpus}")).toBe("7");
    expect(await k("apply", "--dry-run=server", "-f", vm("web", 9))).toContain("server dry run");
  });

  it("wrong manifests are refused with the field", async () => {
    const unknown = await run(["apply", "-f", vm("bad", 1, "  cpuz: 3\n")]);
    expect(unknown.code).toBe(1);
    expect(unknown.err).toMatch(/unknown field "(spec\.)?cpuz"/);
    const outside = await run(["apply", "-f", vm("bad", 0)]);
    expect(outside.err).toContain("spec.cpus");
    const memory = await run([
      "apply",
      "-f",
      manifest(
        "mem",
        'apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata: {name: bad}\nspec: {memory: "512", image: shop}\n',
      ),
    ]);
    expect(memory.err).toContain("has no unit");
    expect((await run(["get", "vm", "none"])).err).toContain('virtualmachines.vireo.dev "none" not found');
  });

  it("auth can-i, whoami", async () => {
    expect(await k("auth", "can-i", "create", "vm")).toBe("yes\n");
    expect(await k("auth", "can-i", "--list")).toContain("*.*");
    if (minor >= 28) expect(await k("auth", "whoami")).toContain("system:masters");
  });

  it("wait for a condition, delete with a finalizer, wait for deletion", async () => {
    const admin = stack.admin();
    const web = { name: "web", namespace: "default" };
    const waiting = k("wait", "--for=condition=Ready", "vm/web", "--timeout=30s");
    const current = await admin.get(VirtualMachine, web);
    const condition = {
      type: "Ready",
      status: "True",
      reason: "Up",
      message: "",
      lastTransitionTime: new Date().toISOString(),
      observedGeneration: current?.metadata.generation,
    };
    await admin.patch(
      VirtualMachine,
      web,
      { status: { conditions: [condition] } },
      { subresource: "status" },
    );
    expect(await waiting).toContain("condition met");
    await k("patch", "vm", "web", "--type=merge", "-p", '{"metadata":{"finalizers":["vireo.dev/test"]}}');
    // kubectl waits until the object is gone, which is when the finalizer is.
    const gone = k("delete", "vm", "web");
    await expect
      .poll(async () => (await admin.get(VirtualMachine, web))?.metadata.deletionTimestamp, {
        timeout: 20_000,
      })
      .toBeDefined();
    await admin.patch(VirtualMachine, web, { metadata: { finalizers: null } });
    expect(await gone).toContain("deleted");
    // Older ones call an object that is gone already an error.
    if (minor >= 27) await k("wait", "--for=delete", "vm/web", "--timeout=30s");
    expect(await k("delete", "vm", "db")).toContain("deleted");
    await k("create", "-f", vm("many", 1));
    expect(await k("delete", "vm", "--all")).toContain("many");
    expect(await k("get", "vm", "-o", "name")).toBe("");
    expect((await run(["delete", "ns", "default"])).err).toContain("this namespace may not be deleted");
  });

  it("roles and bindings, who may do what, and acting as somebody else", async () => {
    await k("create", "namespace", "shop");
    await k(
      "create",
      "role",
      "starter",
      "-n",
      "shop",
      "--verb=get,create",
      "--resource=virtualmachines.vireo.dev",
    );
    await k("create", "rolebinding", "eve", "-n", "shop", "--role=starter", "--user=eve", "--group=dev");
    await k("create", "clusterrole", "hosts", "--verb=get,list", "--resource=hosts.vireo.dev");
    await k("create", "clusterrolebinding", "ops", "--clusterrole=hosts", "--group=ops");
    const can = async (who: string[], ...asked: string[]) =>
      (await run(["auth", "can-i", ...asked, ...who])).out.trim();
    expect(await can(["--as=eve"], "create", "vm", "-n", "shop")).toBe("yes");
    expect(await can(["--as=eve"], "create", "vm", "-n", "bank")).toMatch(/^no/);
    expect(await can(["--as=eve"], "list", "hosts")).toMatch(/^no/);
    expect(await can(["--as=bob", "--as-group=ops"], "list", "hosts")).toBe("yes");
    expect(await k("describe", "role", "starter", "-n", "shop")).toContain("virtualmachines.vireo.dev");
    const refused = await run(["get", "hosts", "--as=eve"]);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(
      'User "eve" cannot list resource "hosts" in API group "vireo.dev" at the cluster scope',
    );
    expect(await k("get", "clusterroles", "-o", "name")).toContain(
      "clusterrole.rbac.authorization.k8s.io/view",
    );
  });

  it("secrets: created, applied, read by name, never described with their values", async () => {
    await k(
      "create",
      "secret",
      "generic",
      "db",
      "--from-literal=password=hush-1",
      "--from-literal=user=shop",
    );
    expect(await k("get", "secret", "db", "-o", "jsonpath={.data.password}")).toBe(btoa("hush-1"));
    const web = (value: string) =>
      manifest(
        "web-secret",
        `apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {token: ${value}}\n`,
      );
    expect(await k("apply", "-f", web("hush-2"))).toContain("secret/web created");
    expect(await k("apply", "-f", web("hush-3"))).toContain("secret/web configured");
    expect(await k("get", "secret", "web", "-o", "jsonpath={.data.token}")).toBe(btoa("hush-3"));
    expect(await k("describe", "secret", "web")).not.toContain("hush");
    const text = "apiVersion: v1\nkind: Secret\nmetadata: {name: bad}\ndata: {a: not base64}\n";
    const bad = await run(["create", "-f", manifest("bad-secret", text)]);
    expect(bad.err).toContain("data[a]: Invalid value: is not base64; write plain text under stringData");
    expect(await k("delete", "secret", "db")).toContain("deleted");
  });
});
