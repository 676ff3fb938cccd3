/** Every template here is given to a real kubectl too: what it prints, or that it refuses, is what is expected of ours. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KUBECTLS, Kubectl } from "../api/testing/kubectl.ts";
import { type ApiStack, startApiStack } from "../api/testing/stack.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { parseTemplate, render, valuesAt } from "./jsonpath.ts";

const TEMPLATES = [
  // Keys, and what is in a key.
  "{.items[*].metadata.name}",
  "{@.kind}",
  "{$.kind}",
  "{ .kind }",
  "plain {.kind} text",
  "{.items[0]['metadata']['name']}",
  "{.items[0].metadata.annotations.a\\.b/c}",
  "{.items[0].metadata.annotations['a\\.b/c']}",
  "{.items[0].metadata.annotations['a.b/c']}",
  "{.items[*].metadata.annotations.empty}",
  "{.items[0].spec.cpus}{.items[1].spec.cpus}",
  "{.items[*].metadata.labels.*}",
  "{.items[0].metadata.labels}",
  "{.items[0].metadata.name.deeper}",
  "{.items[0].nope}",
  "{.nope.deeper}",
  "{.items.metadata.name}",
  // Indexes, slices, and their ends.
  "{.items[0].metadata.name}",
  "{.items[-1].metadata.name}",
  "{.items[-1:].metadata.name}",
  "{.items[-2:].metadata.name}",
  "{.items[:-1].metadata.name}",
  "{.items[0:2].metadata.name}",
  "{.items[:2].metadata.name}",
  "{.items[1:].metadata.name}",
  "{.items[0:3:2].metadata.name}",
  "{.items[1:1].metadata.name}",
  "{.items[3:3].metadata.name}",
  "{.items[3].metadata.name}",
  "{.items[-9].metadata.name}",
  "{.items[0:9].metadata.name}",
  "{.items[-9:].metadata.name}",
  "{.items[2:1].metadata.name}",
  "{.items[*].nope[0]}",
  "{.items[0].metadata.name[0]}",
  "{[0]}",
  // Unions.
  "{.items[0,2].metadata.name}",
  "{.items[*].metadata['name','namespace']}",
  "{.items[*]['metadata.name','spec.cpus']}",
  "{.items[*].metadata.labels['app','nope']}",
  // Descent.
  "{..name}",
  "{..metadata.name}",
  "{.items[0]..name}",
  "{.items..metadata.name}",
  "{.items[*]..cpus}",
  // Filters.
  '{.items[?(@.metadata.name=="db")].spec.cpus}',
  "{.items[?(@.metadata.name!='db')].metadata.name}",
  "{.items[?(@.spec.cpus>1)].metadata.name}",
  "{.items[?(@.spec.cpus>=3)].metadata.name}",
  "{.items[?(@.spec.cpus==2)].metadata.name}",
  '{.items[?(@.spec.cpus=="2")].metadata.name}',
  "{.items[?(@.metadata.name==2)].kind}",
  "{.items[?(@.spec.running==true)].metadata.name}",
  "{.items[?(@.spec.running>1)].kind}",
  "{.items[?(@.metadata.labels.app)].metadata.name}",
  "{.items[?(@.metadata.labels.nope)].metadata.name}",
  "{.items[?(@.spec.cpus<@.spec.nope)].metadata.name}",
  "{.items[?(@.metadata.name==@.metadata.labels.app)].metadata.name}",
  '{.items[?("db"==@.metadata.name)].metadata.name}',
  "{.items[?(@.metadata.name=='a]b')].kind}",
  '{.items[?(@.metadata.name=~"web")].metadata.name}',
  "{.items[?(@.a==]}",
  // Texts and ranges.
  '{range .items[*]}{.metadata.name}{"\\t"}{.spec.cpus}{"\\n"}{end}',
  "{range .items[*]}[{.metadata.name}, {.status.phase}] {end}",
  '{range .items[*]}{range .metadata.labels.*}{@}{","}{end}{end}',
  "{range .items[0:2]}{@.metadata.name}{end}",
  "{range .items[?(@.spec.cpus==2)]}{.metadata.name} {end}",
  "{range .nope[*]}x{end}",
  "{range .items}x{end}",
  "{.kind}{'\\n'}",
  '{"a\\"b"}',
  "{.kind}\\n",
  '{"\\u0041"}',
  // What is none.
  "",
  "{.items[*].metadata.name",
  "{end}",
  "{.items[}",
  "{.items[abc]}",
];

describe("jsonpath as kubectl's", () => {
  let stack: ApiStack;
  let kubectl: Kubectl;
  let list: unknown;
  beforeAll(async () => {
    stack = await startApiStack();
    const [path] = KUBECTLS;
    if (!path) throw new Error("there is no kubectl; install Debian's package kubernetes-client");
    kubectl = new Kubectl(path, stack);
    for (const [name, cpus] of [
      ["db", 4],
      ["web-1", 2],
      ["web-2", 2],
    ] as const)
      await stack.admin().create(VirtualMachine, {
        metadata: {
          name,
          namespace: "default",
          labels: { app: name.split("-")[0] ?? "" },
          annotations: { "a.b/c": "x y", empty: "" },
        },
        spec: { memory: "64Mi", image: "shop", cpus },
      });
    list = JSON.parse(await kubectl.ok("get", "vm", "-o", "json"));
  });
  afterAll(() => stack[Symbol.asyncDispose]());

  it.each(TEMPLATES)("%s", async (template) => {
    const theirs = await kubectl.run(["get", "vm", "-o", `jsonpath=${template}`]);
    const ours = () => render(parseTemplate(template), list);
    if (theirs.code === 0) expect(ours()).toBe(theirs.out);
    else expect(ours, theirs.err).toThrow(/^jsonpath/);
  });

  it("says where a template is wrong, and what would be right", () => {
    expect(() => parseTemplate("{.items[?(@.a==b)]}")).toThrow(
      'jsonpath "{.items[?(@.a==b)]}": b is neither a path (@.a) nor a string in quotes, a number, true or false',
    );
    expect(() => parseTemplate("{range .items[*]}{.a}")).toThrow("{range} without {end}");
    expect(() => render(parseTemplate("{.items[7]}"), list)).toThrow(
      "the array has 3 elements, so there is no [7]",
    );
  });

  it("for wait, what is not there yet is no error", () => {
    expect(valuesAt(parseTemplate("{.items[7].metadata.name}"), list)).toEqual([]);
    expect(valuesAt(parseTemplate("{.items[0].metadata.name}"), list)).toEqual(["db"]);
  });
});
