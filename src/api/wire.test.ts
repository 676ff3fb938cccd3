/** The forms in which answers go out, without a server: tables, media types, OpenAPI, paths, protobuf, watch streams. */
import { createServer, get, type IncomingMessage } from "node:http";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lines } from "../client/lines.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { KINDS } from "../kinds.ts";
import type { Kind } from "../resource/kind.ts";
import { whenOver } from "./exchange.ts";
import { duplicateKeys, parseJson } from "./json.ts";
import { decodeKubernetesProtobuf } from "./kubernetes-protobuf.ts";
import { negotiate } from "./media.ts";
import { openapiV2, openapiV3 } from "./openapi.ts";
import { openapiV2Protobuf } from "./openapi-protobuf.ts";
import { ProtobufWriter, readProtobuf } from "./protobuf.ts";
import { parseUrl } from "./route.ts";
import { ALL_VERBS } from "./served.ts";
import { SYNTHETIC } from "./synthetic.ts";
import { age, parsePath, tableOf, valueAt } from "./table.ts";
import { httpSink, WatchStream } from "./watch-stream.ts";

const ALL = [...SYNTHETIC, ...KINDS.map((kind) => ({ kind, verbs: ALL_VERBS }))];
const plain = (kind: unknown) => kind as Kind;

describe("tables", () => {
  it("every column of every kind has a path that is understood", () => {
    for (const { kind } of ALL)
      for (const column of kind.columns) expect(parsePath(column.jsonPath)).not.toEqual([]);
    expect(() => parsePath(".a[*].b")).toThrow("not understood");
  });

  it("reads nested fields, indices and conditions", () => {
    const object = { a: [{ b: 1 }], conditions: [{ type: "Other" }, { type: "Ready", status: "True" }] };
    expect(valueAt(object, ".a[0].b")).toBe(1);
    expect(valueAt(object, ".a[1].b")).toBeUndefined();
    expect(valueAt(object, ".conditions[?(@.type=='Ready')].status")).toBe("True");
    expect(valueAt(object, '.conditions[?(@.type=="None")].status')).toBeUndefined();
    expect(valueAt(object, ".constructor.name")).toBeUndefined();
  });

  it("leaves out the columns after the first event", () => {
    const object = { apiVersion: "vireo.dev/v1", kind: "Host", metadata: { name: "h" } };
    const options = { metadata: {}, version: "v1", include: "Metadata" as const };
    expect(tableOf(plain(Host), [object], options).columnDefinitions).toHaveLength(Host.columns.length + 1);
    expect(tableOf(plain(Host), [object], { ...options, withColumns: false }).columnDefinitions).toEqual([]);
  });

  it("writes ages as kubectl does", () => {
    const at = (seconds: number) => age(new Date(0).toISOString(), seconds * 1000);
    const hour = 3600;
    expect(
      [5, 119, 120, 150, 599, 600, 3 * hour, 7.5 * hour, 20 * hour, 50 * hour, 9 * 24 * hour].map(at),
    ).toEqual(["5s", "119s", "2m", "2m30s", "9m59s", "10m", "3h", "7h30m", "20h", "2d2h", "9d"]);
    expect(age("nonsense")).toBe("<unknown>");
  });
});

describe("media types", () => {
  it("passes over what it does not know", () => {
    const accept =
      "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
    expect(negotiate(accept, ["APIGroupDiscoveryList"])).toMatchObject({
      as: "APIGroupDiscoveryList",
      version: "v2beta1",
    });
    expect(negotiate(accept).as).toBe("");
    expect(negotiate("application/json;as=Table;v=v9;g=meta.k8s.io, */*", ["Table"]).as).toBe("");
    expect(() => negotiate("application/vnd.kubernetes.protobuf")).toThrow("only the following media types");
  });
});

describe("OpenAPI", () => {
  it("names each kind for clients, and does not require what has a default", () => {
    const document = openapiV2(ALL);
    const vm = document.definitions["dev.vireo.v1.VirtualMachine"];
    expect(vm?.["x-kubernetes-group-version-kind"]).toEqual([
      { group: "vireo.dev", version: "v1", kind: "VirtualMachine" },
    ]);
    expect(vm?.properties?.spec?.required).toEqual(["memory", "image"]);
    const patch = document.paths["/apis/vireo.dev/v1/namespaces/{namespace}/virtualmachines/{name}"]?.patch;
    expect(patch?.parameters.map((parameter) => parameter.name)).toEqual(
      expect.arrayContaining(["dryRun", "fieldValidation"]),
    );
    expect(patch?.consumes).not.toContain("application/strategic-merge-patch+json");
  });

  it("has structural schemas and whole references only", () => {
    const text = JSON.stringify([openapiV2(ALL), openapiV3(ALL)]);
    expect(text).not.toMatch(/patternProperties|anyOf|"~/);
    const { definitions } = openapiV2(ALL);
    for (const [, name] of JSON.stringify(openapiV2(ALL)).matchAll(/"#\/definitions\/([^"]+)"/g))
      expect(Object.keys(definitions)).toContain(name);
  });

  it("has the same in protobuf", () => {
    const fields = readProtobuf(openapiV2Protobuf(openapiV2(ALL)));
    const [paths, definitions] = [8, 9].map((number) => fields.find(({ field }) => field === number)?.bytes);
    expect(readProtobuf(paths ?? Buffer.alloc(0))).toHaveLength(Object.keys(openapiV2(ALL).paths).length);
    expect(readProtobuf(definitions ?? Buffer.alloc(0))).toHaveLength(
      Object.keys(openapiV2(ALL).definitions).length,
    );
  });
});

describe("what comes in", () => {
  it("any path is decoded into names or refused, never more", () => {
    expect(parseUrl("/apis/a%20b/%C3%A9?x=1").path).toEqual(["apis", "a b", "é"]);
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          for (const part of parseUrl(`/${text}`).path) expect(part).not.toMatch(/^\.\.?$|[/\\%]/);
        } catch (error) {
          expect(error).toMatchObject({ reason: "BadRequest" });
        }
      }),
    );
  });

  it("any JSON is read as JSON.parse reads it, and its duplicates are found", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        expect(parseJson(text)).toEqual(JSON.parse(text));
        expect(duplicateKeys(text)).toEqual([]);
      }),
    );
    expect(duplicateKeys('{"a":{"b":[{"c":1,"c":2}]},"x":"\\"}{","a":1}')).toEqual(["a.b[0].c", "a"]);
    expect(duplicateKeys('{"a\\u0062":1,"ab":2}')).toEqual(["ab"]);
  });

  it("any bytes as protobuf are read or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeKubernetesProtobuf(Buffer.concat([Buffer.from("k8s\0"), bytes]));
        } catch (error) {
          expect(error).toMatchObject({ reason: "BadRequest" });
        }
      }),
    );
  });

  it("reads a ResourceQuota as kubectl 1.32 sends it", () => {
    const body = new ProtobufWriter();
    body.message(1, (meta) => {
      meta.string(1, "v1");
      meta.string(2, "ResourceQuota");
    });
    body.message(2, (quota) => {
      quota.message(1, (metadata) => metadata.string(1, "small"));
      quota.message(2, (spec) => {
        for (const [name, amount] of [
          ["requests.cpu", "4"],
          ["requests.memory", "8Gi"],
        ] as const)
          spec.message(1, (entry) => {
            entry.string(1, name);
            entry.message(2, (quantity) => quantity.string(1, amount));
          });
      });
    });
    expect(decodeKubernetesProtobuf(Buffer.concat([Buffer.from("k8s\0"), body.finish()]))).toEqual({
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: { name: "small" },
      spec: { hard: { "requests.cpu": "4", "requests.memory": "8Gi" } },
    });
  });

  it("reads DeleteOptions and reviews as kubectl 1.32 sends them", () => {
    const body = new ProtobufWriter();
    body.message(1, (meta) => {
      meta.string(1, "v1");
      meta.string(2, "DeleteOptions");
    });
    body.message(2, (options) => {
      options.message(2, (preconditions) => preconditions.string(1, "some-uid"));
      options.string(4, "Background");
      options.string(5, "All");
    });
    expect(decodeKubernetesProtobuf(Buffer.concat([Buffer.from("k8s\0"), body.finish()]))).toEqual({
      apiVersion: "v1",
      kind: "DeleteOptions",
      preconditions: { uid: "some-uid" },
      propagationPolicy: "Background",
      dryRun: ["All"],
    });
  });

  it("lines survive any cut, also within a character", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: "grapheme" })),
        fc.array(fc.nat({ max: 50 })),
        async (texts, cuts) => {
          const wanted = texts.map((text) => JSON.stringify(text));
          const bytes = Buffer.from(wanted.map((line) => `${line}\n`).join(""));
          const parts: Buffer[] = [];
          let at = 0;
          for (const cut of cuts) {
            parts.push(bytes.subarray(at, at + cut));
            at += cut;
          }
          parts.push(bytes.subarray(at));
          const got: string[] = [];
          for await (const line of lines(
            (async function* () {
              yield* parts;
            })(),
          ))
            got.push(line);
          expect(got).toEqual(wanted);
        },
      ),
    );
  });
});

describe("a watch stream", () => {
  /** A watch over a plain connection whose client reads only when told to. */
  async function open(options: { stallMs: number; maxQueue?: number }) {
    const { promise, resolve } = Promise.withResolvers<WatchStream>();
    const ended = Promise.withResolvers<void>();
    const server = createServer((request, response) => {
      const stream = new WatchStream(httpSink(response), plain(VirtualMachine), {
        media: { as: "", version: "", yaml: false, contentType: "application/json" },
        include: "Metadata",
        bookmarks: false,
        timeoutMs: 60_000,
        ...options,
      });
      stream.start(() => ended.resolve(), whenOver(request, response));
      resolve(stream);
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const answer = new Promise<IncomingMessage>((got, failed) =>
      get({ port, host: "127.0.0.1" }, got).on("error", failed),
    );
    return {
      stream: await promise,
      answer: await answer,
      ended: ended.promise,
      close: () => server.close(),
    };
  }
  const big = (name: string) => ({
    type: "ADDED" as const,
    object: {
      apiVersion: "vireo.dev/v1",
      kind: "VirtualMachine",
      metadata: { name },
      spec: "x".repeat(100_000),
    },
  });

  it("holds no text for a client that does not read, and cuts it off", async () => {
    const { stream, ended, close, answer } = await open({ stallMs: 300 });
    answer.on("error", () => {});
    for (let i = 0; i < 500; i++) stream.push(big(`vm-${i}`));
    await ended;
    close();
  });

  it("cuts off a client whose queue grows without end", async () => {
    const { stream, ended, close, answer } = await open({ stallMs: 60_000, maxQueue: 1000 });
    answer.on("error", () => {});
    for (let i = 0; i < 2000; i++) stream.push(big("same"));
    await ended;
    close();
  });
});
