/** Lists and collections over HTTP: paging, exact revisions, what is refused, deletion of many. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { register } from "../resource/kind.ts";
import { MachineSet } from "./testing/machines.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let token = "";
beforeAll(async () => {
  stack = await startApiStack({ more: [register(MachineSet)] });
  token = stack.pki.tokens.addUser({ name: "admin", groups: ["system:masters"] });
  for (let i = 0; i < 6; i++) await create(`m${i}`);
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
});

const create = (name: string) =>
  stack.admin().create(MachineSet, {
    metadata: { name, namespace: "default", labels: { odd: String(Number(name.slice(1)) % 2 === 1) } },
    spec: {},
  });
async function call(query: string, method = "GET") {
  const path = `/apis/vireo.dev/v1/namespaces/default/machinesets${query}`;
  const { code, text } = await raw(stack, method, path, { token });
  const body: {
    metadata: { resourceVersion?: string; continue?: string; remainingItemCount?: number };
    items?: { metadata: { name: string } }[];
    message?: string;
    reason?: string;
  } = JSON.parse(text);
  return { code, body, names: body.items?.map(({ metadata }) => metadata.name) };
}
const next = (body: { metadata: { continue?: string } }) => encodeURIComponent(body.metadata.continue ?? "");

describe("lists", () => {
  it("page over one snapshot, and tell how many are left", async () => {
    const first = await call("?limit=2");
    expect([first.names, first.body.metadata.remainingItemCount]).toEqual([["m0", "m1"], 4]);
    await create("m7");
    const second = await call(`?limit=10&continue=${next(first.body)}`);
    expect(second.names).toEqual(["m2", "m3", "m4", "m5"]);
    expect(second.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
    expect(second.body.metadata.continue).toBeUndefined();
  });

  it("whose snapshot is gone tell where to go on in the state of now", async () => {
    const first = await call("?limit=2");
    // As after a restart, or at another server: snapshots are in memory.
    const lost = JSON.parse(Buffer.from(first.body.metadata.continue ?? "", "base64url").toString());
    const old = Buffer.from(JSON.stringify({ ...lost, rv: 1 })).toString("base64url");
    const expired = await call(`?limit=10&continue=${old}`);
    expect(expired).toMatchObject({ code: 410, body: { reason: "Expired" } });
    const rest = await call(`?limit=10&continue=${next(expired.body)}`);
    expect(rest.names).toEqual(["m2", "m3", "m4", "m5", "m7"]);
  });

  it("of an exact revision are that or Expired", async () => {
    await create("m6");
    const { body } = await call("");
    const { resourceVersion } = body.metadata;
    const exact = `?resourceVersion=${resourceVersion}&resourceVersionMatch=Exact`;
    expect((await call(exact)).body.metadata.resourceVersion).toBe(resourceVersion);
    await create("m8");
    expect(await call(exact)).toMatchObject({ code: 410, body: { reason: "Expired" } });
    expect(
      (await call(`?resourceVersion=${resourceVersion}&resourceVersionMatch=NotOlderThan`)).names,
    ).toContain("m8");
  });

  it("of chosen fields leave these, and what names an object; watches as well", async () => {
    const { body } = await call(
      "?limit=1&fields=metadata.labels.odd,spec,status.conditions.type,constructor",
    );
    expect(body.items).toEqual([
      {
        metadata: {
          name: "m0",
          namespace: "default",
          uid: expect.any(String),
          resourceVersion: expect.any(String),
          labels: { odd: "false" },
        },
        spec: expect.any(Object),
      },
    ]);
    const path = "/apis/vireo.dev/v1/namespaces/default/machinesets?watch=1&timeoutSeconds=1";
    const { text } = await raw(stack, "GET", `${path}&resourceVersion=0&fields=metadata.labels`, { token });
    const [first = ""] = text.split("\n");
    expect(Object.keys(JSON.parse(first).object)).toEqual(["metadata"]);
    expect(Object.keys(JSON.parse(first).object.metadata).sort()).toEqual([
      "labels",
      "name",
      "namespace",
      "resourceVersion",
      "uid",
    ]);
    expect(await call("?fields=spec..cpus")).toMatchObject({
      code: 400,
      body: { message: expect.stringMatching(/"spec\.\.cpus" is none/) },
    });
  });

  it.each([
    ["?resourceVersionMatch=Exact", /unless resourceVersion is provided/],
    ["?resourceVersion=1&resourceVersionMatch=Newest", /supported values/],
    ["?resourceVersion=0&resourceVersionMatch=Exact", /forbidden for resourceVersion/],
    ["?sendInitialEvents=true&resourceVersionMatch=NotOlderThan", /forbidden for list/],
  ])("refuse what would change the answer unheard: %s", async (query, message) => {
    expect(await call(query)).toMatchObject({ code: 422, body: { message: expect.stringMatching(message) } });
  });
});

describe("deletecollection", () => {
  it("deletes what the selectors choose; in a dry run nothing", async () => {
    expect((await call("?labelSelector=odd%3Dtrue&dryRun=All", "DELETE")).code).toBe(200);
    expect((await call("")).names).toContain("m1");
    const deleted = await call("?labelSelector=odd%3Dtrue", "DELETE");
    expect(deleted.names).toEqual(["m1", "m3", "m5", "m7"]);
    expect((await call("")).names).toEqual(["m0", "m2", "m4", "m6", "m8"]);
    expect((await call("", "DELETE")).names).toHaveLength(5);
    expect((await call("")).names).toEqual([]);
  });
});
