/**
 * Conformance by the real kubectls: every verb that issue and docs promise, its output and exit code compared with what the API
 * conventions say. The first day of a user is in src/api/server.real.test.ts; here is the rest: field ownership, subresources, deletion,
 * paging, watching, schemas, discovery.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KUBECTLS, Kubectl } from "../src/api/testing/kubectl.ts";
import { MachineSet } from "../src/api/testing/machines.ts";
import { type ApiStack, startApiStack } from "../src/api/testing/stack.ts";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { KINDS as ALL_KINDS } from "../src/kinds.ts";
import { GROUP, register } from "../src/resource/kind.ts";

const KINDS = ALL_KINDS.filter(({ group }) => group === GROUP);

it("there is a kubectl to test with", () => {
  expect(KUBECTLS, "install Debian's package kubernetes-client").not.toEqual([]);
});

describe.each(KUBECTLS)("%s", (path) => {
  let stack: ApiStack;
  let kubectl: Kubectl;
  let minor = 0;
  beforeAll(async () => {
    stack = await startApiStack({ more: [register(MachineSet)] });
    kubectl = new Kubectl(path, stack);
    minor = await kubectl.minor();
  });
  afterAll(async () => {
    expect(stack.errors).toEqual([]);
    await stack[Symbol.asyncDispose]();
  });

  const k = (...args: string[]) => kubectl.ok(...args);
  const fails = (...args: string[]) => kubectl.fails(...args);
  const file = (name: string, spec: string, metadata = "") =>
    kubectl.manifest(
      name,
      `apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata: {name: ${name}${metadata}}\nspec: ${spec}\n`,
    );
  const spec = (name: string) =>
    k("get", "vm", name, "-o", "jsonpath={.spec}").then((text) => JSON.parse(text));
  const managers = async (name: string) => {
    const { metadata } = JSON.parse(
      await k("get", "--raw", `/apis/vireo.dev/v1/namespaces/default/virtualmachines/${name}`),
    );
    return metadata.managedFields.map(
      (entry: { manager: string; operation: string }) => `${entry.manager}/${entry.operation}`,
    );
  };

  it("apply --server-side: creates, merges, prunes, conflicts, takes over", async () => {
    const apply = ["apply", "--server-side", "-f"];
    expect(await k(...apply, file("ss", "{cpus: 2, memory: 64Mi, image: shop, diskSize: 1Gi}"))).toBe(
      "virtualmachine.vireo.dev/ss serverside-applied\n",
    );
    await k(...apply, file("ss", "{cpus: 3, memory: 64Mi, image: shop}"));
    expect(await spec("ss")).toMatchObject({ cpus: 3, restart: "OnFailure" });
    expect(await spec("ss")).not.toHaveProperty("diskSize");
    await k("patch", "vm", "ss", "--type=merge", "-p", '{"spec":{"cpus":5}}');
    const conflict = await fails(...apply, file("ss", "{cpus: 3, memory: 64Mi, image: shop}"));
    expect(conflict).toMatch(
      /Apply failed with 1 conflict: conflict with "kubectl-patch" using vireo.dev\/v1/,
    );
    expect(conflict).toContain(".spec.cpus");
    await k(...apply, file("ss", "{cpus: 3, memory: 64Mi, image: shop}"), "--force-conflicts");
    expect((await spec("ss")).cpus).toBe(3);
    // Another manager adds its part; dropping it takes only that away.
    const other = ["apply", "--server-side", "--field-manager=other", "--validate=false", "-f"];
    await k(...other, file("ss", "{guest: {sshAuthorizedKeys: [ssh-ed25519 A]}}"));
    expect((await spec("ss")).guest).toEqual({ sshAuthorizedKeys: ["ssh-ed25519 A"] });
    await k(...other, file("ss", "{}", ", labels: {a: b}"));
    expect(await spec("ss")).not.toHaveProperty("guest");
    expect((await spec("ss")).cpus).toBe(3);
    expect(await managers("ss")).toEqual(["kubectl/Apply", "other/Apply"]);
    expect(
      await k("apply", "--server-side", "--dry-run=server", "-f", file("dry", "{memory: 64Mi, image: a}")),
    ).toContain("serverside-applied (server dry run)");
    expect(await fails("get", "vm", "dry")).toContain("NotFound");
    const diff = await kubectl.run([
      "diff",
      "--server-side",
      "-f",
      file("ss", "{cpus: 9, memory: 64Mi, image: shop}"),
    ]);
    expect([diff.code, diff.out]).toEqual([1, expect.stringMatching(/-\s+cpus: 3\n\+\s+cpus: 9/)]);
  });

  it("goes over from client-side to server-side apply", async () => {
    await k("apply", "-f", file("over", "{cpus: 2, memory: 64Mi, image: shop, diskSize: 1Gi}"));
    expect(await managers("over")).toEqual(["kubectl-client-side-apply/Update"]);
    await k("apply", "--server-side", "-f", file("over", "{cpus: 4, memory: 64Mi, image: shop}"));
    expect((await spec("over")).cpus).toBe(4);
    if (minor >= 27) {
      // The field that only the old manifest had is gone: kubectl hands its ownership over.
      expect(await spec("over")).not.toHaveProperty("diskSize");
      expect(await managers("over")).not.toContain("kubectl-client-side-apply/Update");
    }
    expect(
      await k("apply", "--server-side", "-f", file("over", "{cpus: 4, memory: 64Mi, image: shop}")),
    ).toContain("serverside-applied");
  });

  it("apply's other commands: view-last-applied, prune by label, several documents", async () => {
    await k("apply", "-f", file("cs", "{cpus: 2, memory: 64Mi, image: shop}"));
    expect(await k("apply", "view-last-applied", "vm/cs")).toContain("cpus: 2");
    const two = kubectl.manifest(
      "two",
      ["p1", "p2"]
        .map(
          (name) =>
            `apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata: {name: ${name}, labels: {set: p}}\nspec: {memory: 64Mi, image: a}\n`,
        )
        .join("---\n"),
    );
    expect(await k("apply", "-f", two)).toBe(
      "virtualmachine.vireo.dev/p1 created\nvirtualmachine.vireo.dev/p2 created\n",
    );
    expect(await k("delete", "-f", two)).toMatch(/"p1" deleted.*\n.*"p2" deleted/);
  });

  it("scale", async () => {
    const set = kubectl.manifest(
      "set",
      "apiVersion: vireo.dev/v1\nkind: MachineSet\nmetadata: {name: set}\nspec: {replicas: 1}\n",
    );
    await k("create", "-f", set);
    expect(await k("scale", "ms/set", "--replicas=3")).toMatch(/set scaled\n$/);
    expect(await k("get", "ms", "set", "-o", "jsonpath={.spec.replicas}")).toBe("3");
    expect(await fails("scale", "ms/set", "--current-replicas=1", "--replicas=5")).toContain(
      "Expected replicas to be 1, was 3",
    );
    await k("scale", "ms/set", "--current-replicas=3", "--replicas=2");
    expect(await k("get", "ms", "set", "-o", "jsonpath={.spec.replicas}")).toBe("2");
    await k("create", "-f", file("noscale", "{memory: 64Mi, image: a}"));
    expect(await fails("scale", "vm/noscale", "--replicas=2")).toContain(
      "could not find the requested resource",
    );
    if (minor >= 27) expect(await k("get", "ms", "set", "--subresource=scale")).toMatch(/set +2 +/);
  });

  it("patch: three types, status, and what to do instead of the fourth", async () => {
    await k("create", "-f", file("pa", "{cpus: 1, memory: 64Mi, image: a}"));
    expect(await k("patch", "vm", "pa", "--type=merge", "-p", '{"spec":{"cpus":2}}')).toContain("patched");
    expect(await k("patch", "vm", "pa", "--type=merge", "-p", '{"spec":{"cpus":2}}')).toContain(
      "patched (no change)",
    );
    const test =
      '[{"op":"test","path":"/spec/cpus","value":9},{"op":"replace","path":"/spec/cpus","value":3}]';
    expect(await fails("patch", "vm", "pa", "--type=json", "-p", test)).toMatch(
      minor >= 27 ? /test of \/spec\/cpus failed/ : /The request is invalid/,
    );
    expect(await fails("patch", "vm", "pa", "-p", '{"spec":{"cpus":2}}')).toMatch(
      /unknown format|415.*--type=merge|--type=merge/,
    );
    expect(
      await k("patch", "vm", "pa", "--type=merge", "--dry-run=server", "-p", '{"spec":{"cpus":7}}'),
    ).toContain("patched");
    expect((await spec("pa")).cpus).toBe(2);
    if (minor >= 27) {
      await k(
        "patch",
        "vm",
        "pa",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"phase":"Running"},"spec":{"cpus":8}}',
      );
      expect(
        await k("get", "vm", "pa", "--subresource=status", "-o", "jsonpath={.status.phase} {.spec.cpus}"),
      ).toBe("Running 2");
    }
    // status is not the user's through the main resource.
    await k("patch", "vm", "pa", "--type=merge", "-p", '{"status":{"host":"mine"}}');
    expect(await k("get", "vm", "pa", "-o", "jsonpath={.status.host}")).toBe("");
  });

  it("get: paging, selectors, output forms, watching one", async () => {
    for (const name of ["g1", "g2", "g3"])
      await k("create", "-f", file(name, "{memory: 64Mi, image: a}", ", labels: {set: g}"));
    expect(await k("get", "vm", "-l", "set=g", "--chunk-size=1", "-o", "name")).toBe(
      ["g1", "g2", "g3"].map((name) => `virtualmachine.vireo.dev/${name}\n`).join(""),
    );
    const page = JSON.parse(
      await k(
        "get",
        "--raw",
        "/apis/vireo.dev/v1/namespaces/default/virtualmachines?limit=2&labelSelector=set%3Dg",
      ),
    );
    expect(page.items).toHaveLength(2);
    expect(page.metadata.continue).toBeTruthy();
    await k("create", "-f", file("g4", "{memory: 64Mi, image: a}", ", labels: {set: g}"));
    const rest = JSON.parse(
      await k(
        "get",
        "--raw",
        `/apis/vireo.dev/v1/namespaces/default/virtualmachines?limit=2&labelSelector=set%3Dg&continue=${encodeURIComponent(page.metadata.continue)}`,
      ),
    );
    // One snapshot: what was made in between is not in it.
    expect(rest.items.map((item: { metadata: { name: string } }) => item.metadata.name)).toEqual(["g3"]);
    expect(rest.metadata.resourceVersion).toBe(page.metadata.resourceVersion);
    expect(
      await k("get", "vm", "g1", "--field-selector=metadata.name=g1", "-o", "name").catch(() => ""),
    ).not.toContain("g2");
    expect(await k("get", "vm", "-l", "set notin (g)", "-o", "name")).not.toContain("g1");
    expect(
      await k(
        "get",
        "vm",
        "-l",
        "set=g",
        "-o",
        "custom-columns=N:.metadata.name,C:.spec.cpus",
        "--no-headers",
      ),
    ).toMatch(/^g1 +1\n/);
    expect(await k("get", "vm", "g1", "--show-labels", "--no-headers")).toContain("set=g");
    expect(await k("get", "vm", "g1", "-o", "go-template={{.spec.image}}")).toBe("a");
    expect(await k("get", "vm/g1", "ms/set", "-o", "name")).toMatch(/g1\n.*set\n/);
    const watching = kubectl.start(["get", "vm", "g1", "-w", "--no-headers", "-L", "seen"]);
    try {
      await expect.poll(watching.text, { timeout: 20_000 }).toMatch(/g1/);
      await k("label", "vm", "g1", "seen=yes");
      await expect.poll(watching.text, { timeout: 20_000 }).toMatch(/g1.*yes/);
    } finally {
      watching.stop();
    }
  });

  it("watches lists (WatchList), where the client can", async () => {
    if (minor < 30) return;
    await k("create", "-f", file("wl", "{memory: 64Mi, image: a}"));
    const watch = { KUBE_FEATURE_WatchListClient: "true" };
    const watching = kubectl.start(["get", "vm", "-w", "--no-headers"], watch);
    try {
      // Not before it is seen: a deletion that is faster than the watch leaves nothing to see.
      await expect.poll(watching.text, { timeout: 20_000 }).toMatch(/wl/);
      expect(await kubectl.run(["delete", "vm", "wl", "--timeout=30s"], watch)).toMatchObject({ code: 0 });
    } finally {
      watching.stop();
    }
  });

  it("every kind has a table with an age, in plain and wide form", async () => {
    for (const kind of KINDS) {
      const { code, out, err } = await kubectl.run([
        "get",
        `${kind.plural}.${kind.group}`,
        "-A",
        "-o",
        "wide",
      ]);
      expect([kind.plural, code], err).toEqual([kind.plural, 0]);
      if (out) expect(out.split("\n")[0], kind.plural).toMatch(/NAME .*AGE/);
    }
    for (const { kind, columns } of KINDS)
      expect(columns.filter(({ priority }) => !priority).length, kind).toBeGreaterThan(1);
  });

  it("label, annotate, edit, set nothing of it in dry runs", async () => {
    expect(await k("label", "vm", "g1", "a=1", "b=2")).toContain("labeled");
    expect(await fails("label", "vm", "g1", "a=9")).toContain("already has a value");
    expect(await k("label", "vm", "g1", "a=9", "--overwrite", "b-")).toContain("labeled");
    expect(await k("get", "vm", "-l", "a=9,!b", "-o", "name")).toContain("g1");
    await k("label", "vm", "-l", "set=g", "all=1");
    expect((await k("get", "vm", "-l", "all=1", "-o", "name")).split("\n")).toHaveLength(5);
    expect(await k("annotate", "vm", "g1", "note=some text")).toContain("annotated");
    expect(await fails("label", "vm", "g1", "bad=!")).toMatch(/[Ii]nvalid/);
    const edit = await kubectl.run(["edit", "vm", "g1"], { KUBE_EDITOR: "sed -i s/cpus:.1/cpus:\\ 4/" });
    expect(edit).toMatchObject({ code: 0, out: "virtualmachine.vireo.dev/g1 edited\n" });
    const nothing = await kubectl.run(["edit", "vm", "g1"], { KUBE_EDITOR: "true" });
    expect(nothing.out + nothing.err).toContain("Edit cancelled, no changes made");
    const refused = await kubectl.run(["edit", "vm", "g1"], { KUBE_EDITOR: "sed -i s/cpus:.4/cpus:\\ 0/" });
    expect(refused.code).not.toBe(0);
    expect(refused.err).toContain('"g1" is invalid');
  });

  it("replace, with what it needs, and --force", async () => {
    const whole = kubectl.manifest(
      "whole",
      (await k("get", "vm", "g2", "-o", "yaml")).replace("cpus: 1", "cpus: 2"),
    );
    expect(await k("replace", "-f", whole)).toContain("replaced");
    expect(await fails("replace", "-f", whole)).toContain("the object has been modified");
    const uid = await k("get", "vm", "g2", "-o", "jsonpath={.metadata.uid}");
    expect(await k("replace", "--force", "-f", file("g2", "{memory: 64Mi, image: b}"))).toContain("replaced");
    expect(await k("get", "vm", "g2", "-o", "jsonpath={.metadata.uid}")).not.toBe(uid);
  });

  it("delete: dry run, by label, cascades, precondition of finalizers", async () => {
    const uid = await k("get", "vm", "g3", "-o", "jsonpath={.metadata.uid}");
    const owned = (name: string) =>
      file(
        name,
        "{memory: 64Mi, image: a}",
        `, ownerReferences: [{apiVersion: vireo.dev/v1, kind: VirtualMachine, name: g3, uid: ${uid}}]`,
      );
    await k("create", "-f", owned("kept"));
    expect(await k("delete", "vm", "g3", "--dry-run=server")).toContain("deleted (server dry run)");
    await k("delete", "vm", "g3", "--cascade=orphan");
    expect(await k("get", "vm", "kept", "-o", "jsonpath={.metadata.ownerReferences}")).toBe("");
    await k("create", "-f", file("owner", "{memory: 64Mi, image: a}"));
    const owner = await k("get", "vm", "owner", "-o", "jsonpath={.metadata.uid}");
    const child = (block: boolean) =>
      file(
        "child",
        "{memory: 64Mi, image: a}",
        `, finalizers: [vireo.dev/test], ownerReferences: [{apiVersion: vireo.dev/v1, kind: VirtualMachine, name: owner, uid: ${owner}, blockOwnerDeletion: ${block}}]`,
      );
    await k("create", "-f", child(true));
    await k("delete", "vm", "owner", "--cascade=foreground", "--wait=false");
    expect(
      await k("get", "vm", "owner", "-o", "jsonpath={.metadata.finalizers} {.metadata.deletionTimestamp}"),
    ).toMatch(/\["foregroundDeletion"\] 2\d/);
    await k("patch", "vm", "child", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]');
    await expect.poll(() => fails("get", "vm", "owner"), { timeout: 20_000 }).toContain("NotFound");
    expect(await k("delete", "vm", "-l", "set=g")).toMatch(/g1.*deleted/);
    expect(await k("get", "vm", "-l", "set=g", "-o", "name")).toBe("");
    expect(await fails("delete", "vm", "g1")).toContain("NotFound");
    expect(await k("delete", "vm", "g1", "--ignore-not-found")).toBe("");
  });

  it("wait: for conditions of the current generation, for values, for the end", async () => {
    await k("create", "-f", file("wa", "{memory: 64Mi, image: a}"));
    const admin = stack.admin();
    const at = { name: "wa", namespace: "default" };
    const status = (observedGeneration: number) => ({
      status: {
        phase: "Running",
        conditions: [
          {
            type: "Ready",
            status: "True",
            reason: "Up",
            message: "",
            lastTransitionTime: "2026-01-01T00:00:00Z",
            observedGeneration,
          },
        ],
      },
    });
    await k("patch", "vm", "wa", "--type=merge", "-p", '{"spec":{"cpus":2}}');
    await admin.patch(VirtualMachine, at, status(1), { subresource: "status" });
    if (minor >= 27)
      expect(await fails("wait", "vm/wa", "--for=condition=Ready", "--timeout=1s")).toContain("timed out");
    const waiting = k("wait", "vm/wa", "--for=condition=Ready", "--timeout=30s");
    await admin.patch(VirtualMachine, at, status(2), { subresource: "status" });
    expect(await waiting).toContain("condition met");
    if (minor >= 27)
      expect(await k("wait", "vm/wa", "--for=jsonpath={.status.phase}=Running", "--timeout=5s")).toContain(
        "condition met",
      );
    const gone = kubectl.run(["wait", "vm/wa", "--for=delete", "--timeout=30s"]);
    await k("delete", "vm", "wa");
    // Older ones call it an error when it was gone before they looked.
    if (minor >= 27) expect(await gone).toMatchObject({ code: 0 });
    else await gone;
  });

  it("refuses what is wrong, naming the field: strict, invalid, immutable, wrong kind", async () => {
    const wrong = file("wrong", "{memory: 64Mi, image: a, cpuz: 1}");
    expect(await fails("create", "-f", wrong)).toMatch(/unknown field "(spec\.)?cpuz"/);
    if (minor >= 27) {
      const { code, err } = await kubectl.run(["create", "--validate=warn", "-f", wrong]);
      expect([code, err]).toEqual([0, expect.stringContaining('unknown field "spec.cpuz"')]);
      await k("delete", "vm", "wrong");
    }
    expect(
      await fails("create", "--validate=false", "-f", file("wrong", "{memory: 64Mi, image: a, cpus: 0}")),
    ).toContain("spec.cpus");
    expect(
      await fails(
        "create",
        "-f",
        kubectl.manifest("kind", "apiVersion: vireo.dev/v1\nkind: Nothing\nmetadata: {name: x}\n"),
      ),
    ).toContain('no matches for kind "Nothing"');
    expect(await fails("get", "vm", "--field-selector", "spec.cpus=1")).toContain(
      "field label not supported: spec.cpus",
    );
    expect(await fails("get", "vm", "-l", "a in")).toMatch(/unable to parse|found/);
  });

  it("explain, describe, events", async () => {
    expect(await k("explain", "vm.status.conditions")).toContain("Latest observations");
    const recursive = await k("explain", "vm", "--recursive");
    for (const field of ["sshAuthorizedKeys", "storagePool", "lastTransitionTime", "managedFields"])
      expect(recursive).toContain(field);
    for (const kind of KINDS)
      expect(
        await k("explain", kind.plural, `--api-version=${kind.group}/${kind.version}`),
        kind.plural,
      ).toContain("DESCRIPTION");
    expect(await fails("explain", "vm.spec.nothing")).toContain("nothing");
    expect(await k("describe", "vm", "noscale")).toMatch(/Kind: +VirtualMachine/);
    if (minor >= 27) expect((await kubectl.run(["events", "--for", "vm/noscale"])).code).toBe(0);
  });

  it("discovery: api-resources, api-versions; auth: can-i", async () => {
    const resources = await k("api-resources", "--api-group=vireo.dev", "-o", "name");
    expect(resources.trim().split("\n").sort()).toEqual(
      [...KINDS, MachineSet].map((kind) => `${kind.plural}.vireo.dev`).sort(),
    );
    expect(
      await k("api-resources", "--namespaced=false", "--api-group=vireo.dev", "-o", "name"),
    ).not.toContain("virtualmachines");
    expect((await k("api-resources", "--verbs=list,watch,create", "-o", "name")).split("\n")).toContain(
      "virtualmachines.vireo.dev",
    );
    expect((await k("api-versions")).split("\n")).toEqual(
      expect.arrayContaining(["v1", "vireo.dev/v1", "vireo.dev/v2", "authorization.k8s.io/v1"]),
    );
    expect(await k("auth", "can-i", "delete", "vm")).toBe("yes\n");
    expect(await k("auth", "can-i", "patch", "vm", "--subresource=status")).toBe("yes\n");
    const as = await kubectl.run(["--token=wrong", "get", "vm"]);
    expect(as.code).not.toBe(0);
  });
});
