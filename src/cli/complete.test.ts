import { Argument, Command } from "commander";
import { expect, it } from "vitest";
import { complete, type KnownKind, readLine, type Source } from "./complete.ts";

const kind = (name: string, plural: string, more: Partial<KnownKind> = {}): KnownKind => ({
  group: "vireo.dev",
  kind: name,
  plural,
  singular: name.toLowerCase(),
  shortNames: [],
  categories: ["all"],
  verbs: ["list", "get", "patch", "delete"],
  ...more,
});
const source: Source = {
  kinds: async () => [
    kind("VirtualMachine", "virtualmachines", { shortNames: ["vm"] }),
    kind("Host", "hosts", { verbs: ["list", "get"] }),
    // A review is only ever created.
    kind("AccessReview", "accessreviews", { verbs: ["create"], categories: [] }),
  ],
  names: async (words) => (words.includes("vm") ? ["web-1", "web-2", "$(reboot)", "a b"] : ["host-a"]),
  namespaces: async () => ["default", "shop"],
  fields: async (word, path) =>
    word === "vm" && path.join(".") === "spec"
      ? [{ value: "cpus" }, { value: "memory" }]
      : [{ value: "spec" }],
};

const program = new Command("vireo").option("--state <folder>", "state");
const withObjects = (name: string) =>
  program
    .command(name)
    .description(`${name}s`)
    .argument("<kind...>")
    .option("-n, --namespace <namespace>", "where")
    .option("-A, --all-namespaces", "everywhere")
    .option("--kubeconfig <file>", "which")
    .option("-o, --output <form>", "how")
    .option("--for <goal>", "until");
withObjects("get");
withObjects("edit");
program.command("events").option("--for <object>", "of");
program.command("explain").argument("<what>");
program.command("completion").addArgument(new Argument("<shell>").choices(["bash", "fish"]));
program.command("token").command("create").argument("<user>").option("--ttl <time>", "how long");
program.command("__complete", { hidden: true });

/** The values, for a line up to the cursor. */
async function at(line: string): Promise<string[] | "files"> {
  const found = await complete(readLine(program, line.split(" ")), source);
  return found === "files" ? found : found.map(({ value }) => value);
}

it("completes verbs, those within verbs too, and not the hidden ones", async () => {
  expect(await at("")).toEqual(["get", "edit", "events", "explain", "completion", "token", "help"]);
  expect(await at("e")).toEqual(["edit", "events", "explain"]);
  expect(await at("--state /x ge")).toEqual(["get"]);
  expect(await at("token ")).toContain("create");
  expect(await at("help ge")).toEqual(["get"]);
  expect(await at("nosuch g")).toEqual([]);
});

it("completes options of the verb and of all verbs", async () => {
  expect(await at("get --name")).toEqual(["--namespace"]);
  expect(await at("get vm -")).toEqual(expect.arrayContaining(["--output", "--state", "--help"]));
  expect(await at("get -- -")).toEqual([]);
});

it("completes values of options, in a word of their own or not", async () => {
  expect(await at("get -n ")).toEqual(["default", "shop"]);
  expect(await at("get vm --namespace=s")).toEqual(["--namespace=shop"]);
  expect(await at("get vm -o j")).toEqual(["json", "jsonpath="]);
  expect(await at("get --for condition=")).toEqual(["condition=Ready"]);
  expect(await at("get --kubeconfig ")).toBe("files");
  expect(await at("--state ")).toBe("files");
  expect(await at("events --for vm/web-1")).toEqual(["vm/web-1"]);
  expect(await at("token create eve --ttl ")).toEqual([]);
});

it("completes kinds: short names when begun, several at once, only those that the verb can take", async () => {
  expect(await at("get ")).toEqual(["all", "hosts", "virtualmachines"]);
  expect(await at("get v")).toEqual(["virtualmachines", "vm"]);
  expect(await at("get vm,")).toEqual(["vm,all", "vm,hosts", "vm,virtualmachines"]);
  expect(await at("get hosts,h")).toEqual([]);
  expect(await at("edit ")).toEqual(["virtualmachines"]);
});

it("completes names, but not those that are there, nor those that a shell would run", async () => {
  expect(await at("get vm ")).toEqual(["web-1", "web-2"]);
  expect(await at("get vm web-1 ")).toEqual(["web-2"]);
  expect(await at("get vm/w")).toEqual(["vm/web-1", "vm/web-2"]);
  expect(await at("get vm/web-1 vm/")).toEqual(["vm/web-2"]);
  expect(await at("get vm/web-1 h")).toEqual(["hosts/"]);
});

it("completes what explain takes: machines and fields", async () => {
  expect(await at("explain vm/")).toEqual(["vm/web-1", "vm/web-2"]);
  expect(await at("explain vm.")).toEqual(["vm.spec"]);
  expect(await at("explain vm.spec.m")).toEqual(["vm.spec.memory"]);
});

it("completes choices", async () => {
  expect(await at("completion ")).toEqual(["bash", "fish"]);
  expect(await at("completion bash ")).toEqual([]);
});

it("reads where the line says that the objects are", () => {
  const place = (line: string) => readLine(program, line.split(" ")).place;
  expect(place("--state /s get -n shop vm ")).toEqual({
    state: "/s",
    namespace: "shop",
    allNamespaces: false,
  });
  expect(place("get -A --kubeconfig=/k vm ")).toEqual({ kubeconfig: "/k", allNamespaces: true });
  expect(place("get -nshop vm ")).toEqual({ namespace: "shop", allNamespaces: false });
});
