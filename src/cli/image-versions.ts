/** `vireo image versions`, `promote`: what an image was before, and which of it channels point to. */
import { modify } from "../client/client.ts";
import { Image } from "../images/kinds.ts";
import { lackingTag, parseReference, versionAt } from "../images/versions/kinds.ts";
import { formatBytes } from "../resource/quantity.ts";
import { connectTo } from "./connect.ts";
import { missing } from "./missing.ts";
import type { Place } from "./resources.ts";
import { UserError } from "./user-error.ts";

type Print = (line: string) => void;

/** @throws UserError when there is no such image */
export async function printVersions(place: Place, name: string, print: Print): Promise<void> {
  const image = await connectTo(place).get(Image, { name });
  if (!image) throw missing("image", name);
  const { channels = [] } = image.spec;
  const versions = image.status?.versions ?? [];
  for (const { version, file, allocatedBytes, createdTime } of versions) {
    const names = channels.filter((channel) => channel.version === version).map((channel) => channel.name);
    const now = file === image.status?.file ? ["newest"] : [];
    const size = allocatedBytes === undefined ? "" : `, ${formatBytes(allocatedBytes)}`;
    const words = [...now, ...names].join(", ");
    print(
      `${name}:${version}  ${file}${size}${createdTime ? `, ${createdTime}` : ""}${words ? `  (${words})` : ""}`,
    );
  }
  for (const channel of channels)
    if (!versions.some(({ version }) => version === channel.version))
      print(`${name}:${channel.name} waits for version ${channel.version}`);
}

/** Points a channel to a version. @param reference NAME:VERSION or NAME:CHANNEL. @throws UserError */
export async function promote(place: Place, reference: string, channel: string, print: Print): Promise<void> {
  const { name, tag } = parseReference(reference);
  const client = connectTo(place);
  const image = await client.get(Image, { name });
  if (!image) throw missing("image", name);
  const version = tag === undefined ? image.status?.version : versionAt(image, tag)?.version;
  if (version === undefined)
    throw new UserError(
      tag === undefined ? `image/${name} is not ready yet` : `image/${name} ${lackingTag(image, tag)}`,
    );
  await modify(client, Image, { name }, "object", (now) => {
    const others = (now.spec.channels ?? []).filter((each) => each.name !== channel);
    return { ...now, spec: { ...now.spec, channels: [...others, { name: channel, version }] } };
  });
  print(
    `${name}:${channel} is version ${version} from now on; machines that are there already keep their disks`,
  );
}
