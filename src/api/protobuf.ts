/** The protobuf wire format, as much as Kubernetes clients make necessary: an encoder for OpenAPI, a reader for bodies. */
import { ApiError } from "../resource/errors.ts";

export class ProtobufWriter {
  readonly #parts: Buffer[] = [];

  #varint(value: number): void {
    const bytes: number[] = [];
    let rest = value;
    while (rest > 127) {
      bytes.push((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
    this.#parts.push(Buffer.from(bytes));
  }
  #tag(field: number, wireType: number): void {
    this.#varint(field * 8 + wireType);
  }
  bytes(field: number, value: Buffer): void {
    this.#tag(field, 2);
    this.#varint(value.length);
    this.#parts.push(value);
  }
  string(field: number, value: string | undefined): void {
    if (value) this.bytes(field, Buffer.from(value));
  }
  bool(field: number, value: boolean | undefined): void {
    if (value) this.int(field, 1);
  }
  int(field: number, value: number | undefined): void {
    if (value === undefined) return;
    this.#tag(field, 0);
    this.#varint(value);
  }
  double(field: number, value: number | undefined): void {
    if (value === undefined) return;
    this.#tag(field, 1);
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    this.#parts.push(bytes);
  }
  message(field: number, fill: (writer: ProtobufWriter) => void): void {
    const inner = new ProtobufWriter();
    fill(inner);
    this.bytes(field, inner.finish());
  }
  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

export interface ProtobufField {
  field: number;
  /** Set for strings, bytes and messages. */
  bytes?: Buffer;
  /** Set for integers and booleans. */
  number?: number;
}

/** All fields of a message. Fixed-width ones, which Kubernetes' kinds here do not use, are skipped. @throws ApiError BadRequest */
export function readProtobuf(message: Buffer): ProtobufField[] {
  const fields: ProtobufField[] = [];
  let at = 0;
  const malformed = () => new ApiError("BadRequest", "the body is not a valid protobuf message");
  const varint = (): number => {
    let result = 0;
    for (let factor = 1; factor < 2 ** 63; factor *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw malformed();
      result += (byte & 127) * factor;
      if (byte < 128) return result;
    }
    throw malformed();
  };
  while (at < message.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        fields.push({ field, number: varint() });
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const length = varint();
        if (length > message.length - at) throw malformed();
        fields.push({ field, bytes: message.subarray(at, at + length) });
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw malformed();
    }
  }
  if (at > message.length) throw malformed();
  return fields;
}
