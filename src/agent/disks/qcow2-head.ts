/** The head of a qcow2 file, read by ourselves. */
import { open } from "node:fs/promises";
import { LayersError } from "./layer-records.ts";

const HEADER_BYTES = 104;
/** Of a header extension: the format of the file below. */
const BACKING_FORMAT = 0xe2792aca;

/** What the head of a qcow2 file says (QEMU, docs/interop/qcow2.txt): read by ourselves, because it may be in use. */
export async function readHeader(
  path: string,
): Promise<{ sizeBytes: number; backing?: string; backingFormat?: string }> {
  const file = await open(path, "r");
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    await file.read(header, 0, HEADER_BYTES, 0);
    if (header.toString("latin1", 0, 4) !== "QFI\xfb") throw new LayersError(`${path} is no qcow2 file`);
    const sizeBytes = Number(header.readBigUInt64BE(24));
    const [at, length] = [Number(header.readBigUInt64BE(8)), header.readUInt32BE(16)];
    if (at === 0) return { sizeBytes };
    const name = Buffer.alloc(Math.min(length, 1023));
    await file.read(name, 0, name.length, at);
    // The extensions lie between the header and the name: type, length, data filled up to 8 bytes.
    const extensions = Buffer.alloc(Math.min(65_536, Math.max(0, at - HEADER_BYTES)));
    await file.read(extensions, 0, extensions.length, header.readUInt32BE(100));
    for (let i = 0; i + 8 <= extensions.length; ) {
      const [type, size] = [extensions.readUInt32BE(i), extensions.readUInt32BE(i + 4)];
      if (type === 0) break;
      if (type === BACKING_FORMAT)
        return {
          sizeBytes,
          backing: name.toString(),
          backingFormat: extensions.toString("latin1", i + 8, i + 8 + size),
        };
      i += 8 + Math.ceil(size / 8) * 8;
    }
    return { sizeBytes, backing: name.toString() };
  } finally {
    await file.close();
  }
}
