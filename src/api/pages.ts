/** Everything the server answers that is not a resource: version, health, discovery, OpenAPI. */
import { createHash } from "node:crypto";
import { ApiError } from "../resource/errors.ts";
import { Discovery } from "./discovery.ts";
import { type Exchange, send, sendValue } from "./exchange.ts";
import { negotiate } from "./media.ts";
import { openapiV2, openapiV3 } from "./openapi.ts";
import { OPENAPI_V2_PROTOBUF, openapiV2Protobuf } from "./openapi-protobuf.ts";
import type { Served } from "./served.ts";

/** The state of one thing that the server needs. */
export interface Health {
  name: string;
  ok: boolean;
  message?: string;
  /** Without it the server is ready all the same: it is reported only. */
  optional?: boolean;
}

/** Clients look at the version to know what they may ask for: we follow this one's conventions. */
const KUBERNETES = { major: "1", minor: "34", version: "v1.34.0" };
const TEXT = { contentType: "text/plain; charset=utf-8" };

/** Made when first asked for: an agent never does, and it takes some 20 ms. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

export class Pages {
  readonly #discovery: Discovery;
  readonly #version: object;
  readonly #health: () => Promise<readonly Health[]>;
  readonly #v2: () => { json: Buffer; protobuf: Buffer };
  readonly #v3: () => Map<string, { bytes: Buffer; hash: string }>;

  constructor(
    served: readonly Served[],
    options: { version: string; health: () => Promise<readonly Health[]> },
  ) {
    this.#health = options.health;
    this.#discovery = new Discovery(served);
    this.#version = {
      major: KUBERNETES.major,
      minor: KUBERNETES.minor,
      gitVersion: `${KUBERNETES.version}+vireo.${options.version}`,
      gitCommit: "",
      gitTreeState: "clean",
      buildDate: "1970-01-01T00:00:00Z",
      goVersion: "none",
      compiler: "v8",
      platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
    };
    this.#v2 = once(() => {
      const document = openapiV2(served);
      return { json: Buffer.from(JSON.stringify(document)), protobuf: openapiV2Protobuf(document) };
    });
    this.#v3 = once(
      () =>
        new Map(
          [...this.#discovery.documents()].map(([name, all]) => {
            const bytes = Buffer.from(JSON.stringify(openapiV3(all)));
            return [name, { bytes, hash: createHash("sha512").update(bytes).digest("hex").toUpperCase() }];
          }),
        ),
    );
  }

  /** Whether a page is for everybody, logged in or not. */
  static isOpen(path: readonly string[]): boolean {
    return path.length === 1 && ["version", "healthz", "livez", "readyz"].includes(path[0] ?? "");
  }

  async open(exchange: Exchange): Promise<void> {
    onlyGet(exchange);
    if (exchange.path[0] === "version") return sendValue(exchange, 200, this.#version);
    // Alive is whoever answers at all.
    if (exchange.path[0] === "livez") return send(exchange, 200, Buffer.from("ok"), TEXT);
    const all = await this.#health();
    const ok = all.every((health) => health.ok || health.optional);
    const report = all
      .map(
        ({ name, ok, message }) =>
          `[${ok ? "+" : "-"}]${name} ${ok ? "ok" : `failed: ${message ?? "no reason given"}`}`,
      )
      .join("\n");
    const text = ok && !exchange.query.has("verbose") ? "ok" : `${report}\n${ok ? "ready" : "not ready"}\n`;
    return send(exchange, ok ? 200 : 503, Buffer.from(text), TEXT);
  }

  /** @returns whether the path was one of these pages */
  async closed(exchange: Exchange): Promise<boolean> {
    const page = this.#find(exchange);
    if (!page) return false;
    onlyGet(exchange);
    await page();
    return true;
  }

  #find(exchange: Exchange): (() => Promise<void>) | undefined {
    const { path, request } = exchange;
    const [root, a, b, ...more] = path;
    const value = (found: object | undefined) => found && (() => sendValue(exchange, 200, found));
    if (root === "openapi" && a === "v2" && path.length === 2) return () => this.#openapiV2(exchange);
    if (root === "openapi" && a === "v3") return () => this.#openapiV3(exchange, path.slice(2).join("/"));
    if (more.length > 0 || (root !== "api" && root !== "apis")) return undefined;
    if (a === undefined) {
      return () => {
        const media = negotiate(request.headers.accept, ["APIGroupDiscoveryList"]);
        const { contentType } = media;
        if (media.as)
          return sendValue(exchange, 200, this.#discovery.aggregated(root === "api", media.version), {
            contentType,
          });
        const host = request.headers.host ?? "";
        return sendValue(
          exchange,
          200,
          root === "api" ? this.#discovery.coreVersions(host) : this.#discovery.groupList(),
        );
      };
    }
    if (root === "api") return b === undefined ? value(this.#discovery.resources("", a)) : undefined;
    return value(b === undefined ? this.#discovery.group(a) : this.#discovery.resources(a, b));
  }

  #openapiV2(exchange: Exchange): Promise<void> {
    const { json, protobuf } = this.#v2();
    if (/proto-openapi/.test(exchange.request.headers.accept ?? ""))
      return send(exchange, 200, protobuf, { contentType: OPENAPI_V2_PROTOBUF });
    return send(exchange, 200, json);
  }

  #openapiV3(exchange: Exchange, name: string): Promise<void> {
    const documents = this.#v3();
    if (name === "")
      return sendValue(exchange, 200, {
        paths: Object.fromEntries(
          [...documents].map(([path, { hash }]) => [
            path,
            { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` },
          ]),
        ),
      });
    const found = documents.get(name);
    if (!found) throw new ApiError("NotFound", `there is no OpenAPI document ${name}`);
    return send(exchange, 200, found.bytes);
  }
}

function onlyGet({ request }: Exchange): void {
  if (request.method !== "GET" && request.method !== "HEAD")
    throw new ApiError(
      "MethodNotAllowed",
      `${request.method} is not supported here: this page can only be read`,
    );
}
