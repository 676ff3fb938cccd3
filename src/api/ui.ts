/**
 * The web UI (web/), as Vite has built it: files that anybody may have, for they hold nothing of this installation. All of them are in memory, so a
 * path can name nothing else; what the pages show they ask of the API, as any client.
 *
 * A link to any of its pages (/machines/default/web-1) is answered with the one index.html when a browser goes there; the UI itself
 * knows what the path means. The API's own paths come first.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join, relative } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { ApiError } from "../resource/errors.ts";
import { type Exchange, send } from "./exchange.ts";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
};
/** Paths that are never the UI's. */
const API_ROOTS = "api apis openapi version healthz livez readyz metrics backup enroll session".split(" ");
/** In index.html, where the nonce goes. */
const NONCE = "CSP_NONCE";
const FOLDER = "assets";

const brotli = promisify(brotliCompress);
const zip = promisify(gzip);

interface File {
  bytes: Buffer;
  type: string;
  etag: string;
  /** By encoding; made when first asked for. */
  packed: Map<string, Promise<Buffer>>;
}

/** Styles need the nonce because noVNC, xterm.js and React Aria make <style> elements; scripts come from files alone. */
const policyWith = (nonce: string) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self' blob: data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");

const headersWith = (nonce: string): Record<string, string> => ({
  "content-security-policy": policyWith(nonce),
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=()",
  "x-frame-options": "DENY",
});

export class Ui {
  readonly #files: ReadonlyMap<string, File>;

  /** @param folder what Vite has built; without it the UI says that it is not there */
  constructor(folder: string) {
    this.#files = new Map(
      filesIn(folder).map((path) => {
        const bytes = readFileSync(path);
        const etag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
        const type = TYPES[extname(path)] ?? "application/octet-stream";
        return [relative(folder, path), { bytes, type, etag, packed: new Map() }];
      }),
    );
  }

  /** @returns whether the request was for the UI; then it is answered */
  async answer(exchange: Exchange): Promise<boolean> {
    const { request, path } = exchange;
    const [root = ""] = path;
    if ((request.method !== "GET" && request.method !== "HEAD") || exchange.upgrade) return false;
    if (API_ROOTS.includes(root)) return false;
    const file = this.#files.get(path.join("/"));
    if (file && root !== "index.html") {
      await this.#send(exchange, file, root === FOLDER);
      return true;
    }
    const isNavigation = /\btext\/html\b/.test(request.headers.accept ?? "");
    if (root === FOLDER || (root !== "" && !isNavigation)) return false;
    await this.#index(exchange);
    return true;
  }

  async #index(exchange: Exchange): Promise<void> {
    const index = this.#files.get("index.html");
    if (!index)
      throw new ApiError(
        "NotFound",
        "the web UI has not been built here; ./vireo up and ./vireo server build it when they start. The API is served under /apis",
      );
    const nonce = randomBytes(16).toString("base64");
    const html = Buffer.from(index.bytes.toString("utf8").replaceAll(NONCE, nonce));
    await send(exchange, 200, html, {
      contentType: index.type,
      headers: { ...headersWith(nonce), "cache-control": "no-store" },
    });
  }

  async #send(exchange: Exchange, file: File, isHashed: boolean): Promise<void> {
    const { request, response } = exchange;
    // Vite's names of these change with what is in them.
    const cache = isHashed ? "public, max-age=31536000, immutable" : "no-cache";
    const headers = {
      ...headersWith("none"),
      etag: file.etag,
      "cache-control": cache,
      vary: "Accept-Encoding",
    };
    if (request.headers["if-none-match"] === file.etag) {
      exchange.onAnswer?.(304);
      response.writeHead(304, headers).end();
      return;
    }
    const accepted = String(request.headers["accept-encoding"] ?? "");
    const encoding = [/\bbr\b/, /\bgzip\b/].map((one) => one.exec(accepted)?.[0]).find(Boolean);
    const isText = !file.type.startsWith("font/");
    if (!encoding || !isText) return send(exchange, 200, file.bytes, { contentType: file.type, headers });
    const packed = file.packed.get(encoding) ?? pack(encoding, file.bytes);
    file.packed.set(encoding, packed);
    const bytes = await packed;
    exchange.onAnswer?.(200);
    response.writeHead(200, {
      ...headers,
      "content-type": file.type,
      "content-encoding": encoding,
      "content-length": bytes.length,
      "x-content-type-options": "nosniff",
    });
    response.end(request.method === "HEAD" ? undefined : bytes);
  }
}

/** Once for each file, so it may take some effort; brotli's best would take seconds. */
const pack = (encoding: string, bytes: Buffer): Promise<Buffer> =>
  encoding === "br"
    ? brotli(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 6 } })
    : zip(bytes, { level: 6 });

function filesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map((entry) => join(entry.parentPath, entry.name));
}
