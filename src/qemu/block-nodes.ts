/** QEMU's block graph, as far as we ask for it. */
import { isFields, type Qmp } from "./qmp.ts";

export interface Node {
  name: string;
  driver: string;
  /** The path of the file at the bottom. */
  file: string;
  /** The file below it in the chain. */
  backing?: string;
  readOnly: boolean;
  /** Names of its dirty bitmaps. */
  bitmaps: string[];
}

export async function listNodes(qmp: Qmp): Promise<Node[]> {
  const answer = await qmp.execute("query-named-block-nodes", { flat: true });
  return (Array.isArray(answer) ? answer : []).filter(isFields).map((node) => ({
    name: String(node["node-name"]),
    driver: String(node.drv),
    file: pathOf(String(node.file)),
    ...(typeof node.backing_file === "string" ? { backing: pathOf(node.backing_file) } : {}),
    readOnly: node.ro === true,
    bitmaps: (Array.isArray(node["dirty-bitmaps"]) ? node["dirty-bitmaps"] : []).flatMap((bitmap) =>
      isFields(bitmap) && typeof bitmap.name === "string" && bitmap.name ? [bitmap.name] : [],
    ),
  }));
}

export const nodeNames = async (qmp: Qmp): Promise<string[]> =>
  (await listNodes(qmp)).map(({ name }) => name);

/** QEMU tells a node with options of its own as json:{…}; the file is at the bottom. */
export function pathOf(file: string): string {
  if (!file.startsWith("json:")) return file;
  let value: unknown = JSON.parse(file.slice("json:".length));
  while (isFields(value) && typeof value.filename !== "string") value = value.file;
  return isFields(value) ? String(value.filename) : file;
}
