/** Request bodies: read within limits, decoded from JSON, YAML or protobuf into plain values. */
import type { IncomingMessage } from "node:http";
import { parseAllDocuments } from "yaml";
import { ApiError } from "../resource/errors.ts";
import { duplicateKeys, isTooDeep, MAX_DEPTH, parseJson } from "./json.ts";
import { decodeKubernetesProtobuf } from "./kubernetes-protobuf.ts";
import { APPLY_TYPE } from "./served.ts";

/** Kubernetes' own limit. */
export const MAX_BODY = 3 * 2 ** 20;
/** YAML parses about fifty times slower than JSON, in one go: a larger body would stop the server for everybody. */
const MAX_YAML = 256 * 1024;
const MAX_YAML_ALIASES = 100;

export interface Body {
  value: unknown;
  /** Paths of duplicate keys, of JSON bodies. */
  duplicates: readonly string[];
}

const tooLarge = (limit: number, what: string) =>
  new ApiError(
    "RequestEntityTooLarge",
    `the ${what} is larger than the limit of ${limit} bytes (${limit / 2 ** 20} MiB)`,
  );

/** @throws ApiError RequestEntityTooLarge as soon as it is known, before the rest is read */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY) throw tooLarge(MAX_BODY, "body");
  const parts: Buffer[] = [];
  let size = 0;
  // Not `for await`: leaving that loop would destroy the connection before the answer is out.
  await new Promise<void>((resolve, reject) => {
    request.on("data", (part: Buffer) => {
      size += part.length;
      if (size <= MAX_BODY) parts.push(part);
      else {
        parts.length = 0;
        reject(tooLarge(MAX_BODY, "body"));
      }
    });
    request.once("end", resolve);
    request.once("error", reject);
    request.once("close", () => {
      if (!request.readableEnded) reject(new ApiError("BadRequest", "the connection ended within the body"));
    });
  });
  return Buffer.concat(parts);
}

export const typeOfBody = (request: IncomingMessage) =>
  (request.headers["content-type"] ?? "application/json").split(";")[0]?.trim().toLowerCase() ?? "";

export function unsupportedType(accepted: readonly string[]): ApiError {
  return new ApiError(
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}${accepted.some((type) => type.includes("merge-patch")) ? " (kubectl patch: add --type=merge)" : ""}`,
  );
}

/** @throws ApiError UnsupportedMediaType or BadRequest */
export function decodeBody(bytes: Buffer, type: string): Body {
  if (type === "application/vnd.kubernetes.protobuf") {
    const value = decodeKubernetesProtobuf(bytes);
    if (value) return { value, duplicates: [] };
  }
  // kubectl sends JSON under the name of apply's YAML.
  if (type === APPLY_TYPE)
    return decodeBody(
      bytes,
      bytes.subarray(0, 64).toString().trimStart().startsWith("{") ? "application/json" : "application/yaml",
    );
  const isYaml = type === "application/yaml" || type === "application/x-yaml" || type === "text/yaml";
  if (!isYaml && type !== "*/*" && !/^application\/([a-z.-]+\+)?json$/.test(type))
    throw unsupportedType(["application/json", "application/yaml"]);
  const text = utf8(bytes);
  if (isYaml) return { value: parseYaml(text), duplicates: [] };
  return { value: parseJson(text), duplicates: duplicateKeys(text) };
}

function utf8(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ApiError("BadRequest", "the body is not valid UTF-8", {}, { cause });
  }
}

/** One YAML document, of the types that JSON has. Aliases are limited in number: expanding them could fill the memory. */
function parseYaml(text: string): unknown {
  if (text.length > MAX_YAML) throw tooLarge(MAX_YAML, "YAML body (send JSON instead)");
  let value: unknown;
  try {
    const documents = parseAllDocuments(text, { schema: "core", uniqueKeys: true, logLevel: "silent" });
    const [document, second] = Array.isArray(documents) ? documents : [];
    if (second)
      throw new ApiError("BadRequest", "the body has several YAML documents; send one in each request");
    const [error] = document?.errors ?? [];
    if (error) throw new ApiError("BadRequest", `the body is not YAML: ${error.message}`);
    value = document?.toJS({ maxAliasCount: MAX_YAML_ALIASES });
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    // Deep nesting overflows the parser's stack; too many aliases are a ReferenceError.
    const why =
      cause instanceof RangeError
        ? `nested deeper than ${MAX_DEPTH} levels`
        : cause instanceof Error
          ? cause.message
          : "";
    throw new ApiError("BadRequest", `the body is not usable YAML: ${why}`, {}, { cause });
  }
  if (isTooDeep(value))
    throw new ApiError("BadRequest", `the body is nested deeper than ${MAX_DEPTH} levels`);
  // Shared parts (aliases) become copies, and what JSON cannot say (NaN) is gone.
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
