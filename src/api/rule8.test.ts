/**
 * Rule 8 of DESIGN: what is destroyed was named in the request, and errors tell users what is wrong without telling what is inside.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { KINDS } from "../kinds.ts";
import { GROUP } from "../resource/kind.ts";
import type { Service } from "./service.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let token: string;
const start = async (options: Parameters<typeof startApiStack>[0] = {}) => {
  stack = await startApiStack(options);
  token = stack.pki.tokens.addUser({ name: "admin", groups: ["system:masters"] });
};
afterEach(() => stack[Symbol.asyncDispose]());

/** Texts that only somebody who reads the source or sits on the machine should see. */
const INSIDE = /\n\s+at |\.ts\b|node:|node_modules|\/src\/|\bSELECT\b|sqlite|TypeError|\/secret\//i;
const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";

describe("a bug in the server", () => {
  const broken = () => {
    throw new TypeError("Cannot read properties of undefined at /secret/src/store/sqlite.ts", {
      cause: new Error("SELECT * FROM current"),
    });
  };
  const service: Service = {
    // Without roles: the server would not even start.
    kinds: KINDS.filter(({ group }) => group === GROUP),
    get: async () => broken(),
    list: async () => broken(),
    watch: async () => broken(),
    create: async () => broken(),
    update: async () => broken(),
    patch: async () => broken(),
    delete: async () => broken(),
  };
  beforeEach(() => start({ service }));

  it.each([
    ["GET", `${VMS}/a`],
    ["GET", VMS],
    ["GET", `${VMS}?watch=1`],
    ["POST", VMS],
    ["PUT", `${VMS}/a`],
    ["PATCH", `${VMS}/a`],
    ["DELETE", `${VMS}/a`],
    ["DELETE", VMS],
  ])(
    "is told as such to a %s of %s, with the request under which the log has the rest",
    async (method, path) => {
      const answer = await raw(stack, method, path, {
        token,
        ...(method === "GET" ? {} : { body: "{}" }),
        ...(method === "PATCH" ? { headers: { "content-type": "application/merge-patch+json" } } : {}),
      });
      expect(answer.code).toBe(500);
      const id = String(answer.headers["x-request-id"]);
      expect(answer.body).toMatchObject({
        kind: "Status",
        reason: "InternalError",
        message: `internal error: the server's log has the details under request ${id}`,
      });
      expect(answer.text + JSON.stringify(answer.headers)).not.toMatch(INSIDE);
      expect(stack.errors).toHaveLength(1);
      expect(JSON.stringify(stack.errors)).toContain(id);
    },
  );
});

describe("an error of the user", () => {
  beforeEach(() => start());

  it("of any sort shows nothing of the inside", async () => {
    const garbage = [
      "",
      "null",
      "[]",
      "{",
      '{"spec":7}',
      '{"metadata":{"name":7}}',
      '{"metadata":{"name":"a"},"spec":null}',
    ];
    const wrong =
      '{"metadata":{"name":"a","namespace":"b"},"spec":{"memory":{},"selector":1,"subnet":[],"moves":"x","directory":0}}';
    for (const { group, version, namespaced, plural } of KINDS) {
      const base = `/apis/${group}/${version}${namespaced ? "/namespaces/default" : ""}/${plural}`;
      for (const [method, path, body] of [
        ...[...garbage, wrong].flatMap((text) => [
          ["POST", base, text],
          ["PUT", `${base}/a`, text],
          ["PATCH", `${base}/a`, text],
        ]),
        ["GET", `${base}/none`],
        ["GET", `${base}?limit=x`],
        ["GET", `${base}?continue=x`],
        ["GET", `${base}?watch=1&resourceVersion=99999999`],
        ["GET", `${base}?labelSelector=,,(`],
        ["GET", `${base}?fieldSelector=spec.nothing=1`],
        ["DELETE", `${base}/none`],
        ["TRACE", base],
      ] as [string, string, string?][]) {
        const answer = await raw(stack, method, path, {
          token,
          ...(body === undefined ? {} : { body }),
          ...(method === "PATCH" ? { headers: { "content-type": "application/merge-patch+json" } } : {}),
        });
        const what = `${method} ${path} ${body}: ${answer.code} ${answer.text}`;
        // 504: a revision that is yet to come, as Kubernetes says it; the client tries again.
        expect(answer.code === 504 || answer.code < 500, what).toBe(true);
        if (answer.code >= 400) expect(String(answer.body.message).length, what).toBeGreaterThan(5);
        expect(answer.text, what).not.toMatch(INSIDE);
        expect(answer.text, what).not.toContain(stack.folder);
      }
    }
    expect(stack.errors).toEqual([]);
    // Some thirty requests for each kind: on a busy machine that takes a while.
  });
});

describe("a deletion", () => {
  beforeEach(async () => {
    await start();
    for (const name of ["a", "b"])
      await stack.admin().create(VirtualMachine, {
        metadata: { name, namespace: "default" },
        spec: { memory: "64Mi", image: "shop" },
      });
  });
  const left = async () =>
    (await stack.admin().list(VirtualMachine)).items.map(({ metadata }) => metadata.name);

  it("that names nothing, by mistake or with an empty name, deletes nothing", async () => {
    for (const path of [
      `${VMS}/`,
      `${VMS}/?dryRun=`,
      `${VMS}//`,
      "/apis/vireo.dev/v1/virtualmachines",
      `${VMS}/..`,
      `${VMS}/%2e`,
    ]) {
      const { code } = await raw(stack, "DELETE", path, { token });
      expect([path, code >= 400 && code < 500]).toEqual([path, true]);
    }
    await stack
      .admin()
      .delete(VirtualMachine, { name: "", namespace: "default" })
      .catch(() => undefined);
    await stack
      .admin()
      .delete(VirtualMachine, { name: "a", namespace: "" })
      .catch(() => undefined);
    expect(await left()).toEqual(["a", "b"]);
  });

  it("of what another has made anew under the name does not happen when the uid is given", async () => {
    const admin = stack.admin();
    const old = await admin.get(VirtualMachine, { name: "a", namespace: "default" });
    await admin.delete(VirtualMachine, { name: "a", namespace: "default" });
    await admin.create(VirtualMachine, {
      metadata: { name: "a", namespace: "default" },
      spec: { memory: "64Mi", image: "shop" },
    });
    await expect(
      admin.delete(VirtualMachine, { name: "a", namespace: "default" }, { uid: old?.metadata.uid ?? "" }),
    ).rejects.toThrow(/uid/i);
    expect(await left()).toEqual(["a", "b"]);
  });
});
