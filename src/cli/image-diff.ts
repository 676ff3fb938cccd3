/** `vireo image diff`: what is other in one image, or build of one, than in another: packages, files, sizes. */
import type { HttpClient } from "../client/http.ts";
import { Image, ImageBuild } from "../images/kinds.ts";
import { comparePackages } from "../images/trust/differences.ts";
import { compareFiles } from "../images/trust/file-list.ts";
import { connectTo } from "./connect.ts";
import type { Place } from "./resources.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

type Print = (line: string) => void;
interface Side {
  path: string;
  status: NonNullable<Image["status"]> | NonNullable<ImageBuild["status"]>;
}

/** An image, or else a build. @throws UserError */
async function sideOf(client: HttpClient, name: string): Promise<Side> {
  const image = await client.get(Image, { name });
  const found = image ?? (await client.get(ImageBuild, { name }));
  if (!found)
    throw new UserError(`there is no image ${name}, nor a build; vireo get images,imagebuilds lists them`);
  const { status } = found;
  if (!status?.packages) throw new UserError(`${name}: was not built from a recipe, or is not built yet`);
  return { path: `/apis/vireo.dev/v1/${image ? "images" : "imagebuilds"}/${name}`, status };
}

/** @throws ApiError */
async function listOf(client: HttpClient, { path }: Side): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const bytes of client.bytes(`${path}/file?format=files`)) chunks.push(bytes);
  return Buffer.concat(chunks).toString("utf8");
}

const inMiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** @throws UserError */
export async function diff(
  place: Place,
  names: readonly [string, string],
  options: { files: boolean },
  print: Print,
): Promise<void> {
  const client = connectTo(place);
  const [before, after] = await Promise.all([sideOf(client, names[0]), sideOf(client, names[1])]);
  const packages = comparePackages(before.status.packages ?? [], after.status.packages ?? []);
  if (packages.length === 0) print("the same packages");
  else
    print(
      table(
        ["PACKAGE", names[0].toUpperCase(), names[1].toUpperCase(), "IS"],
        packages.map(({ name, before = "-", after = "-", what }) => [name, before, after, what]),
      ),
    );
  const changes = compareFiles(await listOf(client, before), await listOf(client, after));
  const { added, removed, changed } = changes;
  print(`\nfiles: ${added.length} added, ${removed.length} removed, ${changed.length} changed`);
  if (options.files) {
    const all = [
      ...added.map((path) => ["+", path] as const),
      ...removed.map((path) => ["-", path] as const),
      ...changed.map((path) => ["~", path] as const),
    ];
    for (const [sign, path] of all.sort(([, a], [, b]) => (a < b ? -1 : 1))) print(`${sign} ${path}`);
  }
  const sizes = (side: Side) =>
    new Map([
      ["disk", side.status.allocatedBytes ?? 0],
      ...(side.status.artifacts ?? []).map(({ format, bytes }) => [format, bytes] as const),
    ]);
  const [old, now] = [sizes(before), sizes(after)];
  const rows = [...now].flatMap(([what, bytes]) => {
    const was = old.get(what);
    const isText = /^(?:spdx|cyclonedx|provenance|signature|files)$/.test(what);
    if (was === undefined || isText) return [];
    const more = bytes - was;
    return [[what, inMiB(was), inMiB(bytes), `${more < 0 ? "-" : "+"}${inMiB(Math.abs(more))}`]];
  });
  print(`\n${table(["SIZE", names[0].toUpperCase(), names[1].toUpperCase(), "IS"], rows)}`);
}
