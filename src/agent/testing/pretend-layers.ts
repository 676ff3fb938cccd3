/** Layers of pretended disks: files of a qcow2 head and nothing else; what guests wrote to them is in a map. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { LayerTool } from "../disks/layer-tool.ts";

type Contents = Map<string, number>;

/** After the header, and the one extension: the format of the file below. */
const [HEADER_BYTES, NAME_AT] = [104, 128];
const BACKING_FORMAT = 0xe2792aca;

/** Makes the first layer of a disk that has none. */
export function makeLayer(path: string): void {
  if (existsSync(dirname(path))) return;
  mkdirSync(dirname(path), { recursive: true });
  writeHead(path, undefined);
}

/** Of a data disk: beside what is there. */
export function makeDataLayer(path: string): void {
  if (!existsSync(path)) writeHead(path, undefined);
}

function writeHead(path: string, backing: string | undefined): void {
  const head = Buffer.alloc(512);
  head.write("QFI\xfb", 0, "latin1");
  head.writeUInt32BE(3, 4);
  head.writeBigUInt64BE(2n ** 24n, 24);
  head.writeUInt32BE(HEADER_BYTES, 100);
  if (backing) {
    head.writeUInt32BE(BACKING_FORMAT, HEADER_BYTES);
    head.writeUInt32BE(5, HEADER_BYTES + 4);
    head.write("qcow2", HEADER_BYTES + 8);
    head.writeBigUInt64BE(BigInt(NAME_AT), 8);
    head.writeUInt32BE(Buffer.byteLength(backing), 16);
    head.write(backing, NAME_AT);
  }
  writeFileSync(path, head);
}

/** A layer and those below it. */
export function chainOf(path: string): string[] {
  const chain = [path];
  for (;;) {
    const head = readFileSync(chain.at(-1) ?? "");
    const length = head.readUInt32BE(16);
    if (length === 0) return chain;
    chain.push(head.toString("utf8", NAME_AT, NAME_AT + length));
  }
}

/** What a guest reads. */
export const contentOf = (contents: Contents, path: string): number | undefined =>
  chainOf(path)
    .map((layer) => contents.get(layer))
    .find((found) => found !== undefined);

/** A merge by QEMU: the head says at once that it is done; what was copied is lost with QEMU until that has flushed it. @returns what is done then */
export function absorbed(contents: Contents, into: string, from: string): () => void {
  const below = contents.get(from);
  const takes = !contents.has(into) && below !== undefined;
  if (takes) contents.set(into, below);
  writeHead(into, chainOf(from)[1]);
  return () => {
    if (takes && contents.get(into) === below) contents.delete(into);
  };
}

const NEVER = new Promise<never>(() => {});

/** Each change but rebase is made in one go, and after `isDead` none any more: what had begun stands still for ever, as in a killed process. */
export function pretendTool(
  contents: Contents,
  isDead: () => boolean,
  fault: (call: keyof LayerTool) => void = () => {},
): LayerTool {
  const step = async (call: keyof LayerTool, change: () => void) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (isDead()) await NEVER;
    fault(call);
    change();
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (isDead()) await NEVER;
  };
  return {
    create: (path, backing) => step("create", () => writeHead(path, backing)),
    // The head first, as qemu-img does: its data is there when it has ended.
    rebase: async (path, from) => {
      const below = contents.get(from);
      await step("rebase", () => writeHead(path, chainOf(from)[1]));
      if (!contents.has(path) && below !== undefined) contents.set(path, below);
    },
    restore: (path, from) => step("restore", () => writeHead(path, from)),
    replace: (path, text) =>
      step("replace", () => {
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, text);
      }),
    remove: (path) => step("remove", () => rmSync(path, { force: true })),
    lend: () => step("lend", () => {}),
  };
}
