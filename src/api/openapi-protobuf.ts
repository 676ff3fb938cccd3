/**
 * The OpenAPI v2 document in gnostic's protobuf form, the only one in which kubectl up to 1.28 takes it. Numbers are the fields of
 * gnostic-models/openapiv2/OpenAPIv2.proto.
 */
import type { DocumentV2, OperationV2 } from "./openapi.ts";
import type { Schema } from "./openapi-schema.ts";
import { ProtobufWriter } from "./protobuf.ts";

export const OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const METHOD_FIELDS = { get: 2, put: 3, post: 4, delete: 5, patch: 8 } as const;

/** gnostic's Any holds YAML text; JSON is YAML. */
function any(writer: ProtobufWriter, field: number, value: unknown): void {
  writer.message(field, (inner) => inner.string(2, JSON.stringify(value)));
}

function extensions(writer: ProtobufWriter, field: number, from: object): void {
  for (const [name, value] of Object.entries(from))
    if (name.startsWith("x-"))
      writer.message(field, (named) => {
        named.string(1, name);
        any(named, 2, value);
      });
}

function schema(writer: ProtobufWriter, from: Schema): void {
  writer.string(1, from.$ref);
  writer.string(2, from.format);
  writer.string(3, from.title);
  writer.string(4, from.description);
  if (from.default !== undefined) any(writer, 5, from.default);
  writer.double(7, from.maximum);
  writer.double(9, from.minimum);
  writer.int(11, from.maxLength);
  writer.int(12, from.minLength);
  writer.string(13, from.pattern);
  writer.int(14, from.maxItems);
  writer.int(15, from.minItems);
  for (const name of from.required ?? []) writer.string(19, name);
  for (const word of from.enum ?? []) any(writer, 20, word);
  const more = from.additionalProperties;
  if (more !== undefined)
    writer.message(21, (item) =>
      more === true ? item.bool(2, true) : item.message(1, (inner) => schema(inner, more)),
    );
  if (from.type) writer.message(22, (item) => item.string(1, from.type));
  const { items, properties } = from;
  if (items) writer.message(23, (list) => list.message(1, (inner) => schema(inner, items)));
  if (properties)
    writer.message(25, (list) => {
      for (const [name, property] of Object.entries(properties)) namedSchema(list, 1, name, property);
    });
  extensions(writer, 31, from);
}

function namedSchema(writer: ProtobufWriter, field: number, name: string, value: Schema): void {
  writer.message(field, (named) => {
    named.string(1, name);
    named.message(2, (inner) => schema(inner, value));
  });
}

function parameter(writer: ProtobufWriter, from: OperationV2["parameters"][number]): void {
  if (from.in === "body")
    writer.message(1, (body) => {
      body.string(2, from.name);
      body.string(3, "body");
      body.bool(4, from.required);
      body.message(5, (inner) => schema(inner, from.schema));
    });
  else if (from.in === "query")
    writer.message(2, (other) =>
      other.message(3, (query) => {
        query.string(2, "query");
        query.string(4, from.name);
        query.string(6, from.type);
        query.bool(20, from.uniqueItems);
      }),
    );
  else
    writer.message(2, (other) =>
      other.message(4, (path) => {
        path.bool(1, true);
        path.string(2, "path");
        path.string(4, from.name);
        path.string(5, from.type);
      }),
    );
}

function operation(writer: ProtobufWriter, from: OperationV2): void {
  writer.string(3, from.description);
  writer.string(5, from.operationId);
  for (const type of from.produces) writer.string(6, type);
  for (const type of from.consumes) writer.string(7, type);
  for (const each of from.parameters)
    writer.message(8, (item) => item.message(1, (inner) => parameter(inner, each)));
  writer.message(9, (responses) => {
    for (const [code, response] of Object.entries(from.responses))
      responses.message(1, (named) => {
        named.string(1, code);
        named.message(2, (value) =>
          value.message(1, (inner) => {
            inner.string(1, response.description);
            inner.message(2, (item) => item.message(1, (body) => schema(body, response.schema)));
          }),
        );
      });
  });
  extensions(writer, 13, from);
}

export function openapiV2Protobuf(document: DocumentV2): Buffer {
  const writer = new ProtobufWriter();
  writer.string(1, document.swagger);
  writer.message(2, (info) => {
    info.string(1, document.info.title);
    info.string(2, document.info.version);
  });
  writer.message(8, (paths) => {
    for (const [path, item] of Object.entries(document.paths))
      paths.message(2, (named) => {
        named.string(1, path);
        named.message(2, (value) => {
          for (const method of ["get", "put", "post", "delete", "patch"] as const) {
            const found = item[method];
            if (found) value.message(METHOD_FIELDS[method], (inner) => operation(inner, found));
          }
        });
      });
  });
  writer.message(9, (definitions) => {
    for (const [name, value] of Object.entries(document.definitions))
      namedSchema(definitions, 1, name, value);
  });
  return writer.finish();
}
