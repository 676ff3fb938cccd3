/**
 * Versions of an image, and what machines call them: `web` is the newest, `web:3` the third, `web:stable` the one that the channel points to. Each build that made
 * another file is a version. Pure.
 */
import { type Static, Type } from "typebox";
import { type Cause, invalidValue } from "../../resource/errors.ts";
import { keyedBy, Words } from "../../resource/kind.ts";

const NAME = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";

/** The field of a machine that names an image, as Name of resource/kind.ts. */
export const ImageReference = (description: string) =>
  Type.String({
    description: `${description} NAME, or one of its versions: NAME:3, NAME:CHANNEL.`,
    pattern: `^${NAME}(:${NAME})?$`,
  });

export const Channel = Type.Object({
  name: Type.String({
    pattern: "^[a-z]([-a-z0-9]{0,29}[a-z0-9])?$",
    description: "What machines name it by: stable.",
  }),
  version: Type.Integer({ minimum: 1 }),
});

export const Channels = Type.Array(Channel, {
  maxItems: 50,
  ...keyedBy("name"),
  description: "Names of versions; they stay when the image is built anew. `vireo image promote` sets one.",
});

export const Version = Type.Object({
  version: Type.Integer({ minimum: 1 }),
  file: Type.String(),
  format: Words(["qcow2", "raw"]),
  virtualBytes: Type.Optional(Type.Integer()),
  allocatedBytes: Type.Optional(Type.Integer()),
  sha256: Type.Optional(Type.String()),
  boot: Type.Optional(
    Type.Object({ kernel: Type.String(), initrd: Type.String(), commandLine: Type.String() }),
  ),
  build: Type.Optional(Type.String({ description: "The ImageBuild that it was made by." })),
  createdTime: Type.Optional(Type.String({ format: "date-time" })),
});
export type Version = Static<typeof Version>;

/** How many versions are kept that nothing names. */
export const KEEP_VERSIONS = 3;

/** What of an image versions are about. */
export interface Versioned {
  spec: { channels?: readonly Static<typeof Channel>[]; keepVersions?: number };
  status?: VersionedStatus;
}
export interface VersionedStatus {
  version?: number;
  versions?: Version[];
  file?: string;
  format?: "qcow2" | "raw";
  virtualBytes?: number;
  allocatedBytes?: number;
  sha256?: string;
  boot?: { kernel: string; initrd: string; commandLine: string };
  build?: string;
}

/** "web:stable" is { name: "web", tag: "stable" }. */
export function parseReference(reference: string): { name: string; tag?: string } {
  const [name = "", tag] = reference.split(":");
  return { name, ...(tag === undefined ? {} : { tag }) };
}

export const imageOf = (reference: string) => parseReference(reference).name;

/** The version of a tag. */
export function versionAt({ spec, status }: Versioned, tag: string): Version | undefined {
  const number = /^\d+$/.test(tag) ? Number(tag) : spec.channels?.find(({ name }) => name === tag)?.version;
  return status?.versions?.find(({ version }) => version === number);
}

/** The image as it is under this reference: of a version with that one's files; of one that there is not, without any. */
export function imageAt<T extends Versioned>(image: T | undefined, reference: string): T | undefined {
  const { tag } = parseReference(reference);
  if (!image || tag === undefined) return image;
  const found = versionAt(image, tag);
  const { file: _, format: _format, virtualBytes: _bytes, boot: _boot, ...status } = image.status ?? {};
  if (!found) return { ...image, status: { ...status, phase: "Pending" } };
  const { version: _version, createdTime: _time, ...files } = found;
  return { ...image, status: { ...status, ...files, version: found.version, phase: "Ready" } };
}

/** "has no version or channel beta; it has 1, 2, stable"; of a channel that waits for its version, that. */
export function lackingTag({ spec, status }: Versioned, tag: string): string {
  const versions = versionsOf(status);
  const channel = spec.channels?.find(({ name }) => name === tag);
  if (channel)
    return `has no version ${channel.version} yet, to which its channel ${tag} points; it has ${versions.join(", ") || "none"}`;
  const there = (spec.channels ?? []).filter(({ version }) => versions.includes(version));
  const all = [...versions, ...there.map(({ name }) => name)];
  return `has no version or channel ${tag}; it has ${all.join(", ") || "none yet"}`;
}

const versionsOf = (status?: VersionedStatus) => (status?.versions ?? []).map(({ version }) => version);

/** What the status says of versions once the image is of these files: the version that has them, or a new one. */
export function withVersion(
  before: VersionedStatus | undefined,
  now: VersionedStatus,
  time: string,
): Pick<VersionedStatus, "version" | "versions"> {
  const versions = before?.versions ?? firstOf(before);
  const { file, format, virtualBytes, allocatedBytes, sha256, boot, build } = now;
  if (file === undefined || format === undefined) return { versions };
  const known = versions.find((each) => each.file === file);
  if (known) return { version: known.version, versions };
  const version = Math.max(before?.version ?? 0, ...versions.map((each) => each.version)) + 1;
  const more = { virtualBytes, allocatedBytes, sha256, boot, build };
  const given = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined));
  return { version, versions: [...versions, { version, file, format, ...given, createdTime: time }] };
}

/** Of an image from before there were versions. */
function firstOf(before: VersionedStatus | undefined): Version[] {
  const { file, format, virtualBytes, allocatedBytes, sha256, boot, build } = before ?? {};
  if (file === undefined || format === undefined) return [];
  const more = { virtualBytes, allocatedBytes, sha256, boot, build };
  const given = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined));
  return [{ version: 1, file, format, ...given }];
}

/** Those that stay: the newest ones, the present one, what channels point to, and what machines name. @param tags that machines name */
export function keptVersions({ spec, status }: Versioned, tags: readonly string[]): Version[] {
  const all = status?.versions ?? [];
  const newest = [...all].sort((a, b) => b.version - a.version).slice(0, spec.keepVersions ?? KEEP_VERSIONS);
  const named = new Set([
    ...(spec.channels ?? []).map(({ version }) => version),
    ...tags.flatMap((tag) => versionAt({ spec, ...(status ? { status } : {}) }, tag)?.version ?? []),
  ]);
  return all.filter((each) => newest.includes(each) || named.has(each.version) || each.file === status?.file);
}

/** Channels that are pointed to what is not there. Those of an image that has no version yet, of manifests that are applied anew, wait for theirs. */
export function checkChannels({ spec, status }: Versioned, old?: Versioned): Cause[] {
  const versions = versionsOf(status);
  if (versions.length === 0) return [];
  const before = old?.spec.channels ?? [];
  return (spec.channels ?? []).flatMap(({ name, version }, i) =>
    versions.includes(version) || before.some((each) => each.name === name && each.version === version)
      ? []
      : [
          invalidValue(
            `spec.channels[${i}].version`,
            version,
            `the image has the versions ${versions.join(", ")}`,
          ),
        ],
  );
}
