/** The `vireo` command as users run it, a process, against a real API server; where it and kubectl say the same, it is compared. */
import { execFile, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import { LocalClient } from "../src/api/local.ts";
import { Namespace } from "../src/api/namespaces.ts";
import { Pki } from "../src/api/pki.ts";
import { KUBECTLS, Kubectl, type Run } from "../src/api/testing/kubectl.ts";
import { type ApiStack, startApiStack } from "../src/api/testing/stack.ts";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { directorSubresources } from "../src/director/subresources.ts";
import { systemClock } from "../src/reconcile/clock.ts";
import { Event } from "../src/reconcile/kinds.ts";

const ROOT = resolve(import.meta.dirname, "..");
let stack: ApiStack;
let kubectl: Kubectl;

beforeAll(async () => {
  stack = await startApiStack({
    checked: ["Policy"],
    serving: (service) => ({ subresources: directorSubresources(new LocalClient(service), systemClock) }),
  });
  const [path] = KUBECTLS;
  if (!path) throw new Error("there is no kubectl; install Debian's package kubernetes-client");
  kubectl = new Kubectl(path, stack);
  await stack.admin().create(Namespace, { metadata: { name: "shop" }, spec: {} });
  await stack.admin().create(Namespace, { metadata: { name: "fresh" }, spec: {} });
  for (const [namespace, name, app] of [
    ["default", "web-1", "web"],
    ["default", "web-2", "web"],
    ["default", "db", "db"],
    ["shop", "till", "till"],
  ] as const)
    await stack.admin().create(VirtualMachine, {
      metadata: { name, namespace, labels: { app }, annotations: { since: "2026-01-01", flag: "yes" } },
      spec: { memory: "64Mi", image: "shop" },
    });
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
});

const environment = (more: Record<string, string> = {}) => ({
  ...process.env,
  KUBECONFIG: stack.kubeconfig,
  VIREO_STATE: join(stack.folder, "none"),
  HOME: stack.folder,
  ...more,
});

function run(command: string, args: readonly string[], more?: Record<string, string>): Promise<Run> {
  return new Promise((done) => {
    execFile(command, args, { env: environment(more), cwd: ROOT, timeout: 60_000 }, (error, out, err) =>
      done({ code: error ? Number(error.code ?? -1) : 0, out, err }),
    );
  });
}
const MAIN = ["--disable-warning=ExperimentalWarning", join(ROOT, "src/cli/main.ts")];
const vireo = (...args: string[]) => run(process.execPath, [...MAIN, ...args]);
const ok = async (...args: string[]) => {
  const { code, out, err } = await vireo(...args);
  expect([args.join(" "), code, err]).toEqual([args.join(" "), 0, ""]);
  return out;
};
const fails = async (...args: string[]) => {
  const { code, out, err } = await vireo(...args);
  expect([args.join(" "), code, out]).toEqual([args.join(" "), 1, ""]);
  return err;
};
/** Starts one that goes on (-w). `text()`: what it has printed; `stop()`: as Ctrl-C does. @returns the exit code from stop */
function follow(...args: string[]): { text: () => string; stop: () => Promise<number | null> } {
  const child = spawn(process.execPath, [...MAIN, ...args], { env: environment(), cwd: ROOT });
  const gone = new Promise<number | null>((done) => child.once("exit", done));
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (part: Buffer) => {
      text += part.toString();
    });
  const stop = () => {
    child.kill("SIGINT");
    return gone;
  };
  onTestFinished(async () => void (await stop()));
  return { text: () => text, stop };
}
/** Ages differ by the second in which they are asked for. */
const ageless = (table: string) => table.replace(/ +\d+[smhd]\S*$/gm, "");

describe("snapshot, rollback and migrate", () => {
  it("make nothing for a machine or a snapshot that is not there: it would stay as a failed one", async () => {
    const nobody =
      'vireo: there is no machine "nobody" in the namespace default; vireo get vm -A lists them\n';
    expect(await fails("snapshot", "vm/nobody")).toBe(nobody);
    expect(await fails("migrate", "vm/nobody")).toBe(nobody);
    expect(await fails("rollback", "vm/nobody", "--to", "old")).toBe(nobody);
    expect(await fails("rollback", "vm/db", "--to", "old")).toBe(
      'vireo: there is no snapshot "old" in the namespace default; vireo get snapshots -A lists them\n',
    );
    expect(await ok("get", "snapshots,rollbacks,migrations", "-o", "name")).toBe("");
  });

  it("nor does a console of one that is not there end in other words", async () => {
    for (const verb of ["console", "vnc", "screenshot", "logs"])
      expect(await fails(verb, "vm/nobody")).toBe(
        'vireo: there is no machine "nobody" in the namespace default; vireo get vm -A lists them\n',
      );
  });
});

describe("get", () => {
  it.each([
    ["vm"],
    ["vm", "-A"],
    ["vm", "-o", "wide"],
    ["vm/web-1"],
    ["vm", "-l", "app=web"],
    ["vm", "-n", "shop"],
    ["vm", "--field-selector", "metadata.name=db"],
    ["crd"],
    ["vm", "-A", "-o", "name"],
    ["vm,clusterroles", "-o", "name"],
    ["vm", "db", "-o", 'jsonpath={.metadata.name}{"\\n"}'],
    ["vm", "-o", "jsonpath={.items[*].metadata.managedFields[0].operation}"],
  ])("%s %s %s as kubectl does", async (...args) => {
    expect(ageless(await ok("get", ...args))).toBe(ageless(await kubectl.ok("get", ...args)));
  });

  it.each([["vm"], ["vm", "web-1"], ["vm,clusterroles", "-A"]])("%s %s as objects", async (...args) => {
    const managed = (_key: string, value: unknown) => (_key === "managedFields" ? undefined : value);
    const wanted: unknown = JSON.parse(await kubectl.ok("get", ...args, "-o", "json"), managed);
    expect(JSON.parse(await ok("get", ...args, "-o", "json"))).toEqual(wanted);
    // Readers of YAML 1.1 (kubectl's, Python's) must not take texts for times and truth.
    const yaml = await ok("get", ...args, "-o", "yaml");
    expect(parse(yaml, { version: "1.1" })).toEqual(wanted);
    expect(parse(yaml)).toEqual(wanted);
  });

  it("says that nothing is up where somebody else answers at its address", async () => {
    const state = join(stack.folder, "stopped");
    mkdirSync(state);
    const other = readFileSync(stack.kubeconfig, "utf8").replace(
      /(?<=certificate-authority-data: ).*/,
      Buffer.from((await Pki.open(join(state, "pki"))).ca).toString("base64"),
    );
    writeFileSync(join(state, "kubeconfig"), other);
    expect(await fails("--state", state, "get", "vm")).toMatch(
      /cannot reach .*certificate.*; nothing is up in .*stopped: `vireo up` starts it\n$/,
    );
  });

  it("says what is wrong and what would be right", async () => {
    expect(await fails("get", "vn")).toContain('there is no kind "vn"; did you mean "vm"?');
    expect(await fails("get", "vm", "web1")).toContain(
      'there is no virtualmachine "web1" in the namespace default; did you mean "web-1"?',
    );
    expect(await fails("get", "vm", "-o", "yml")).toContain(
      '-o "yml" is not a form of output; did you mean "yaml"?',
    );
    expect(await fails("get", "vm", "--kubeconfig", "/nowhere")).toContain("/nowhere: no such file");
    // $KUBECONFIG is set: a mistyped folder must not delete things elsewhere.
    expect(await fails("--state", "/nowhere", "get", "vm")).toContain("no control plane in /nowhere");
    expect(await fails("get", "vm", "--kind")).toMatch(/^vireo: unknown option '--kind'/);
    expect(await fails("plan", "shwo")).toBe(
      "vireo: unknown command 'shwo'\n(Did you mean show?)\n(vireo plan --help shows what there is)\n",
    );
    expect(await fails("apply")).toMatch(/^vireo: required option '-f, --file <file>' not specified/);
    expect(await fails("up", "--hosts", "x")).toBe(
      "vireo: option '--hosts <n>' argument 'x' is invalid: a whole number above 0 is needed\n(vireo up --help shows what there is)\n",
    );
    const nobody = join(stack.folder, "nobody.yaml");
    writeFileSync(
      nobody,
      readFileSync(stack.kubeconfig, "utf8").replace(stack.server.url, "https://127.0.0.1:1"),
    );
    expect(await fails("get", "vm", "--kubeconfig", nobody)).toMatch(
      /^vireo: cannot reach https:\/\/127.0.0.1:1: .*ECONNREFUSED.*; `vireo doctor` tells what runs, `vireo up` starts what does not\n$/,
    );
  });

  it("ends quietly when its reader does", async () => {
    const { out, err } = await run("bash", [
      "-c",
      `"$@" get crd -o yaml | head -n 1; echo "\${PIPESTATUS[0]}"`,
      "bash",
      process.execPath,
      ...MAIN,
    ]);
    expect([out, err]).toEqual(["apiVersion: v1\n141\n", ""]);
  });
});

describe("get -w", () => {
  const SLOW = { timeout: 20_000 };
  const label = (name: string, value: string) =>
    stack
      .admin()
      .patch(VirtualMachine, { name, namespace: "default" }, { metadata: { labels: { seen: value } } });

  it("goes on with what changes, as a table, and ends by Ctrl-C", async () => {
    const { text, stop } = follow("get", "vm", "-w");
    await expect.poll(text, SLOW).toMatch(/^NAME .*\ndb .*\nweb-1 .*\nweb-2 /);
    const [header, first] = text().split("\n");
    await label("db", "1");
    await expect.poll(() => text().split("\n").length, SLOW).toBe(5);
    // The columns stay where they were.
    const last = text().trimEnd().split("\n").at(-1);
    expect(last?.indexOf("64Mi")).toBe(first?.indexOf("64Mi"));
    expect(text().match(/^NAME/gm), header).toHaveLength(1);
    expect(await stop()).toBe(0);
  });

  it("follows one object, also as YAML", async () => {
    const { text, stop } = follow("get", "vm/web-1", "-w", "-o", "yaml");
    await expect.poll(text, SLOW).toContain("name: web-1");
    await label("web-2", "2");
    await label("web-1", "2");
    await expect.poll(text, SLOW).toContain('seen: "2"');
    expect(text()).not.toContain("name: web-2");
    expect(await stop()).toBe(0);
  });

  it("follows one kind", async () => {
    expect(await fails("get", "vm,hosts", "-w")).toContain("-w follows one kind or one object");
  });
});

describe("events", () => {
  const SLOW = { timeout: 20_000 };
  let made = 0;
  const record = (
    name: string,
    type: "Normal" | "Warning",
    reason: string,
    message: string,
    namespace = "default",
  ) => {
    const at = new Date(Date.UTC(2026, 0, 1, 12, 0, made++)).toISOString();
    return stack.admin().create(Event, {
      metadata: { name: `e-${made}`, namespace },
      spec: {
        about: { kind: "VirtualMachine", name, namespace },
        type,
        reason,
        message,
        reporter: "test",
        firstTime: at,
        lastTime: at,
        count: 1,
      },
    });
  };

  it("tells of all, the newest last; --for, --warnings and -A choose; nothing in them steers the terminal", async () => {
    expect((await vireo("events")).err).toContain("no events; they are kept for an hour");
    await record("web-1", "Normal", "Started", "it runs");
    await record("web-2", "Warning", "NoHost", "no host has room\u001b[31m\nfor it");
    await record("till", "Normal", "Started", "it runs", "shop");
    expect(await ok("events")).toBe(
      `LAST (UTC)             TYPE     REASON   OBJECT    MESSAGE
2026-01-01 12:00:00    Normal   Started  vm/web-1  it runs
2026-01-01 12:00:01    Warning  NoHost   vm/web-2  no host has room [31m for it
`,
    );
    expect(await ok("events", "--for", "vm/web-1")).not.toContain("web-2");
    expect(await fails("events", "--for", "web-1")).toContain(
      '"web-1" is not KIND/NAME; for a machine: vm/web-1',
    );
    expect(await ok("events", "--warnings")).not.toContain("web-1");
    expect(await ok("events", "-n", "shop")).toContain("vm/till");
    expect(await ok("events", "-A")).toMatch(/^NAMESPACE .*\ndefault .*\ndefault .*\nshop .*vm\/till/);
    expect((await vireo("events", "--for", "vm/db")).err).toContain("no events");
    expect(await fails("events", "--for", "vn/web-1")).toContain('did you mean "vm"?');
  });

  it("-w goes on with what happens to what was chosen", async () => {
    const { text, stop } = follow("events", "--for", "vm/web-1", "-w");
    await expect.poll(text, SLOW).toContain("Started");
    await record("web-2", "Normal", "Moved", "not asked for");
    await record("web-1", "Normal", "Moved", "from a to b");
    await expect
      .poll(text, SLOW)
      .toMatch(/^2026-01-01 12:00:04 {2}Normal {2}Moved {2}vm\/web-1 {2}from a to b$/m);
    expect(text()).not.toContain("not asked for");
    expect(await stop()).toBe(0);
  });
});

describe("apply and delete", () => {
  const manifest = (name: string, cpus: number) => {
    const path = join(stack.folder, `${name}.yaml`);
    writeFileSync(
      path,
      `apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata: {name: ${name}}\nspec: {cpus: ${cpus}, memory: 64Mi, image: shop}\n`,
    );
    return path;
  };

  it("creates, changes, leaves as it is; tells of conflicts and how to settle them", async () => {
    expect(await ok("apply", "-f", manifest("a", 2), "--dry-run")).toBe(
      "virtualmachine/a created (dry run)\n",
    );
    expect(await ok("apply", "-f", manifest("a", 2))).toBe("virtualmachine/a created\n");
    expect(await ok("apply", "-f", manifest("a", 2))).toBe("virtualmachine/a unchanged\n");
    expect(await ok("apply", "-f", manifest("a", 3))).toBe("virtualmachine/a configured\n");
    await kubectl.ok("patch", "vm", "a", "--type=merge", "-p", '{"spec":{"cpus":5}}');
    const conflict = await fails("apply", "-f", manifest("a", 3));
    expect(conflict).toMatch(/a\.yaml:1: .*conflict with "kubectl-patch"/);
    expect(conflict).toContain("--force-conflicts takes these fields over");
    expect(await ok("apply", "-f", manifest("a", 3), "--force-conflicts")).toBe(
      "virtualmachine/a configured\n",
    );
    expect(await kubectl.ok("get", "vm", "a", "-o", "jsonpath={.spec.cpus}")).toBe("3");
  });

  it("refuses what is not understood, by file and line", async () => {
    const path = join(stack.folder, "wrong.yaml");
    writeFileSync(path, "# a comment\napiVersion: vireo.dev/v1\nkind: VirtualMachin\nmetadata: {name: x}\n");
    expect(await fails("apply", "-f", path)).toContain(
      `${path}:2: kind: "VirtualMachin" is unknown; did you mean "VirtualMachine"?`,
    );
    writeFileSync(path, "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n");
    const unknown = await fails("apply", "-f", path);
    expect(unknown).toContain(`${path}:1: kind: "Pod" is unknown; kinds are VirtualMachine, `);
    // What nobody can apply is not offered.
    expect(unknown).not.toMatch(/Review|CustomResourceDefinition/);
  });

  it("warns of a policy that contradicts another, new or changed, as kubectl has it", async () => {
    const policy = (name: string, rule: string) => {
      const path = join(stack.folder, `policy-${name}.yaml`);
      writeFileSync(
        path,
        `apiVersion: vireo.dev/v2\nkind: Policy\nmetadata: {name: ${name}}\nspec: {selector: {matchLabels: {app: odd}}, required: ["${rule}"]}\n`,
      );
      return path;
    };
    await ok("apply", "-f", policy("quick", "host.disk.ssd"));
    const warning =
      'Warning: policy "quick", spec.required[0] (host.disk.ssd): can never hold together with spec.required[0] (!host.disk.ssd) of this policy; it chooses all machines that this policy does, and there is no host for any of them\n';
    const slow = policy("slow", "!host.disk.ssd");
    expect(await kubectl.run(["create", "-f", slow])).toMatchObject({ code: 0, err: warning });
    await ok("delete", "policy", "slow");
    expect(await vireo("apply", "-f", slow)).toEqual({
      code: 0,
      out: "policy/slow created\n",
      err: warning,
    });
    await ok("apply", "-f", policy("slow", "host.cpu.mhz > 0"));
    const change = [
      "patch",
      "policy",
      "slow",
      "--type=merge",
      "-p",
      '{"spec":{"required":["!host.disk.ssd"]}}',
    ];
    expect(await kubectl.run([...change, "--dry-run=server"])).toMatchObject({ code: 0, err: warning });
    expect(await vireo("apply", "-f", policy("slow", "!host.disk.ssd"))).toEqual({
      code: 0,
      out: "policy/slow configured\n",
      err: warning,
    });
    await ok("delete", "policy", "quick", "slow");
  });

  it("deletes several by choice only when told to", async () => {
    await ok("apply", "-f", manifest("b", 1), "-f", manifest("c", 1));
    await kubectl.ok("label", "vm", "b", "c", "old=yes");
    const refused = await fails("delete", "vm", "-l", "old=yes");
    expect(refused).toContain("this would delete 2:\n  virtualmachine/b\n  virtualmachine/c\n");
    expect(refused).toContain("nothing was deleted; say --yes when that is meant");
    expect(await ok("get", "vm", "-l", "old=yes", "-o", "name")).toContain("/b\n");
    expect(await ok("delete", "vm", "-l", "old=yes", "--yes")).toBe(
      "virtualmachine/b deleted\nvirtualmachine/c deleted\n",
    );
    expect(await fails("delete", "vm")).toContain("name which virtualmachines to delete");
    expect(await ok("delete", "vm/a")).toBe("virtualmachine/a deleted\n");
    expect(await ok("delete", "vm/a", "--ignore-not-found")).toBe("nothing to delete\n");
  });
});

describe("wait", () => {
  it("ends at once when it is so, and when it becomes so", async () => {
    expect(await ok("wait", "vm/db", "--for=jsonpath={.spec.memory}=64Mi")).toContain("is met");
    const waiting = ok("wait", "vm/later", "--for=create", "--timeout=20s");
    const gone = ok("wait", "vm/web-2", "--for=delete", "--timeout=20s");
    const phase = ok("wait", "vm/db", "--for=jsonpath={.metadata.labels.tier}=1", "--timeout=20s");
    await kubectl.ok("label", "vm", "db", "tier=1");
    await kubectl.ok("delete", "vm", "web-2", "--wait=false");
    await ok(
      "apply",
      "-f",
      kubectl.manifest(
        "later",
        "{apiVersion: vireo.dev/v1, kind: VirtualMachine, metadata: {name: later}, spec: {memory: 64Mi, image: shop}}",
      ),
    );
    expect(await waiting).toContain("virtualmachine/later");
    expect(await phase).toContain("is met");
    expect(await gone).toContain("virtualmachine/web-2 is gone");
  });

  it("tells what it saw last when the time is over", async () => {
    expect(await fails("wait", "vm/db", "--for=condition=Ready", "--timeout=1s")).toContain(
      "virtualmachine/db: time is over; it has no condition Ready yet",
    );
    expect(await fails("wait", "vm/db", "--for=ready")).toContain("--for=ready is not understood");
  });
});

describe("edit", () => {
  /** An editor that runs this on the file; how often it was opened is counted. */
  const editor = (name: string, script: string) => {
    const path = join(stack.folder, name);
    writeFileSync(path, `#!/bin/sh\necho x >> ${path}.count\n${script}\n`);
    chmodSync(path, 0o755);
    return {
      edit: (...args: string[]) =>
        run(process.execPath, [...MAIN, "edit", ...args], { EDITOR: path, VISUAL: "", KUBE_EDITOR: "" }),
      opened: () => (existsSync(`${path}.count`) ? readFileSync(`${path}.count`, "utf8").length / 2 : 0),
    };
  };

  const disks = () =>
    kubectl.manifest(
      "shared",
      "{apiVersion: vireo.dev/v1, kind: VirtualMachine, metadata: {name: shared}, spec: {cpus: 1, memory: 64Mi, image: shop, disks: [{name: data, size: 1Gi}]}}",
    );

  it("sends what was changed", async () => {
    const { edit } = editor("change", `sed -i 's/cpus: 1/cpus: 7/' "$1"`);
    expect(await edit("vm/db")).toMatchObject({ code: 0, err: "" });
    expect(await kubectl.ok("get", "vm", "db", "-o", "jsonpath={.spec.cpus}")).toBe("7");
  });

  it("opens again, with the reason in it, what was refused", async () => {
    const { edit, opened } = editor(
      "mend",
      `if grep -q '^# .*memory' "$1"; then sed -i 's/memory: lots/memory: 96Mi/' "$1"; else sed -i 's/memory: .*/memory: lots/' "$1"; fi`,
    );
    expect(await edit("vm/db")).toMatchObject({ code: 0 });
    expect(opened()).toBe(2);
    expect(await kubectl.ok("get", "vm", "db", "-o", "jsonpath={.spec.memory}")).toBe("96Mi");
  });

  it("what others change meanwhile stays; where it is the same, the editor is opened again with theirs, and nothing is lost", async () => {
    await ok("apply", "-f", disks());
    // While Bob's editor is open, Anna writes.
    const anna = (patch: string) =>
      `${KUBECTLS[0]} --kubeconfig ${stack.kubeconfig} patch vm shared --type merge -p '${patch}' >/dev/null`;
    const read = (path: string) => kubectl.ok("get", "vm", "shared", "-o", `jsonpath={${path}}`);
    const elsewhere = editor(
      "elsewhere",
      `sed -i 's/^  cpus: .*/  cpus: 3/' "$1"; ${anna('{"spec":{"memory":"80Mi"}}')}`,
    );
    expect(await elsewhere.edit("vm/shared")).toMatchObject({ code: 0, err: "" });
    expect(elsewhere.opened()).toBe(1);
    expect([await read(".spec.cpus"), await read(".spec.memory")]).toEqual(["3", "80Mi"]);

    const mine = `sed -i 's/^  disks:.*/&\\n    - { name: mine, size: 1Gi }/' "$1"`;
    const theirs = '{"spec":{"disks":[{"name":"data","size":"1Gi"},{"name":"anna","size":"2Gi"}]}}';
    const once = (script: string, again: string) =>
      `if grep -q '^# Somebody has changed the same' "$1"; then cp "$1" "$0.seen"; ${again}; else ${script}; ${anna(theirs)}; fi`;
    const left = editor("left", once(mine, "true"));
    const { code, err } = await left.edit("vm/shared");
    expect([code, left.opened()]).toEqual([1, 2]);
    expect(err).toContain("nothing was changed; what you wrote is kept in /");
    const seen = readFileSync(join(stack.folder, "left.seen"), "utf8");
    expect(seen).toMatch(/^# spec:\n# {3}disks:\n(#.*\n)*# +- name: anna\n/m);
    expect(parse(seen).spec.disks.map(({ name }: { name: string }) => name)).toEqual(["mine", "data"]);
    expect(await read(".spec.disks[*].name")).toBe("data anna");

    const data = { spec: { disks: [{ name: "data", size: "1Gi" }] } };
    await stack.admin().patch(VirtualMachine, { name: "shared", namespace: "default" }, data);
    const both = editor(
      "both",
      once(mine, `sed -i 's/^  disks:.*/&\\n    - { name: anna, size: 2Gi }/' "$1"`),
    );
    expect(await both.edit("vm/shared")).toMatchObject({ code: 0 });
    expect(await read(".spec.disks[*].name")).toBe("anna mine data");
  });

  it("loses nothing when it is given up", async () => {
    const { edit } = editor("giveup", `sed -i 's/memory: .*/memory: lots/' "$1"`);
    const { code, err } = await edit("vm/db");
    expect(code).toBe(1);
    const kept = /(\/\S+\.yaml)/.exec(err)?.[1] ?? "";
    expect(readFileSync(kept, "utf8")).toContain("memory: lots");
  });
});

describe("explain", () => {
  it("a kind and its fields, with the nearest for a wrong one", async () => {
    const text = await ok("explain", "vm.spec.memory");
    expect(text).toContain(
      "KIND:     VirtualMachine\nVERSION:  vireo.dev/v1\nFIELD:    spec.memory <string>",
    );
    expect(await ok("explain", "vm", "--recursive")).toContain("    memory <string> -required-\n");
    expect(await ok("explain", "crd", "--recursive")).toContain("KIND:     CustomResourceDefinition");
    expect(await fails("explain", "vm.spec.memry")).toContain(
      'vm.spec has no field "memry"; did you mean "memory"?',
    );
  });

  it("as docs/cli.md shows it", async () => {
    const page = readFileSync(join(ROOT, "docs/cli.md"), "utf8");
    const shown = /^\$ vireo explain vm\.spec\.readiness\n([\s\S]*?)^```/m.exec(page)?.[1];
    expect((await ok("explain", "vm.spec.readiness")).trim()).toBe(shown?.trim());
  });

  it("a machine's place, when a name is meant: vm/NAME is never a field, and a field never a machine", async () => {
    // A machine by the name of a field, and a field that no machine is called after.
    await stack.admin().create(VirtualMachine, {
      metadata: { name: "spec", namespace: "default" },
      spec: { memory: "64Mi", image: "shop" },
    });
    const place = await ok("explain", "vm/spec");
    expect(place).toMatch(/^vm\/spec {2}/);
    expect(place).toContain("policies  none; balanced");
    expect(await ok("explain", "vm.spec")).toContain("FIELD:    spec <Object>");
    // As get -o name writes it.
    expect(await ok("explain", "virtualmachine.vireo.dev/spec")).toBe(place);
    expect(await fails("explain", "vm/memory")).toContain('there is no machine "memory"');
    expect(await fails("explain", "plan/a")).toContain(
      '"plan/a" is not vm/NAME or host/NAME: machines have a place to explain, and hosts their power; `vireo explain plan` tells what the kind means',
    );
    expect(await fails("explain", "host/nobody")).toContain('there is no host "nobody"');
    await stack.admin().delete(VirtualMachine, { name: "spec", namespace: "default" });
  });

  it("names every field that kubectl explain names", async () => {
    const names = (text: string) => [...text.matchAll(/^ +(\w+)\s*<(\S+)>/gm)].map((found) => found[1]);
    const theirs = names(await kubectl.ok("explain", "vm.spec", "--recursive"));
    expect(theirs.length).toBeGreaterThan(10);
    expect(names(await ok("explain", "vm.spec", "--recursive"))).toEqual(expect.arrayContaining(theirs));
  });
});

describe("clone", () => {
  it("makes all of them or none, and waits for none that cannot come", async () => {
    const taken = { name: "copy-3", namespace: "default" };
    await stack.admin().create(VirtualMachine, { metadata: taken, spec: { memory: "64Mi", image: "shop" } });
    expect(await fails("clone", "vm/db", "--name", "copy", "--count", "4")).toContain(
      '"copy-3" already exists',
    );
    expect(await ok("get", "vm", "-o", "name")).not.toMatch(/copy-[124]/);
    await stack.admin().delete(VirtualMachine, taken);
  });
});

describe("help", () => {
  it("knows what verbs are called elsewhere, and never proposes another thing for them", async () => {
    expect(await fails("create", "vm")).toContain("unknown command 'create': vireo apply -f FILE makes");
    expect(await fails("strat", "vm/db")).toContain("Did you mean start?");
  });

  it("tells the version", async () => {
    expect(await ok("--version")).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it("tells defaults only where they tell something", async () => {
    const help = await ok("up", "--help");
    expect(help).toContain("(default: 10m)");
    expect(help).not.toMatch(/default:\s+(false|\[\])/);
  });
});

describe("completion", () => {
  it("bash", async () => {
    // Words as bash divides them: at = too.
    const at = async (...words: string[]) => {
      const line = words.join(" ").replaceAll(" = ", "=").replace(/ =$/, "=");
      const last = words.at(-1) ?? "";
      const script = `source <(./vireo completion bash); compopt() { echo "option $2"; }
COMP_LINE=$1; COMP_POINT=\${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_vireo "$1" "${last === "=" ? "" : last}" prev; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return (await run("bash", ["--norc", "-c", script, "bash", line, ...words])).out.trim().split("\n");
    };
    expect(await at("./vireo", "ge")).toEqual(["get"]);
    expect(await at("./vireo", "get", '"vm"', "w")).toEqual(["web-1"]);
    expect(await at("./vireo", "get", "vm", "-n", "sh")).toEqual(["shop"]);
    // Nothing is in it yet.
    expect(await at("./vireo", "get", "vm", "-n", "fr")).toEqual(["fresh"]);
    expect(await at("./vireo", "get", "vm", "--output", "=", "y")).toEqual(["yaml"]);
    expect(await at("./vireo", "get", "vm", "--output", "=")).toContain("wide");
    expect(await at("./vireo", "get", "vm", "-o", "jsonp")).toEqual(["option nospace", "jsonpath="]);
    expect(await at("./vireo", "apply", "-f", "ex")).toEqual(["option default"]);
    expect(await at("./vireo", "explain", "vm.spec.memoryT")).toEqual(["vm.spec.memoryTarget"]);
  });

  it.skipIf(!existsSync("/usr/bin/fish"))("fish", async () => {
    const at = async (line: string) => {
      const script = `./vireo completion fish | source; complete -C ${JSON.stringify(line)}`;
      const { out } = await run("fish", ["--no-config", "-c", script]);
      return out.trim().split("\n");
    };
    expect(await at("./vireo ge")).toEqual([expect.stringMatching(/^get\t/)]);
    expect(await at("./vireo get vm w")).toEqual(["web-1"]);
    expect(await at("./vireo get vm --output=y")).toEqual(["--output=yaml"]);
    expect(await at("./vireo apply --file=exa")).toEqual(["--file=examples/"]);
  });

  it("offers verbs and kinds, and says why no names, when nothing is up", async () => {
    const away = { KUBECONFIG: "", VIREO_STATE: join(stack.folder, "none") };
    const words = (...all: string[]) => run(process.execPath, [...MAIN, "__complete", "--", ...all], away);
    expect((await words("get", "virt")).out).toBe("virtualmachines\tVirtualMachine\n");
    const names = await words("get", "vm", "");
    expect([names.code, names.out]).toEqual([0, ""]);
    expect(names.err).toContain("no control plane");
  });
});
