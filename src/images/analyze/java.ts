/** What jars and classes ask for: the Java that they are made for, and the jars that they name. */
import { inflateRawSync } from "node:zlib";
import type { Need, Versions } from "./needs.ts";

const [END_OF_DIRECTORY, DIRECTORY_ENTRY] = [0x06054b50, 0x02014b50];
const END_BYTES = 22;
const MAX_ENTRIES = 200_000;
/** More is no class or manifest. */
const MAX_ENTRY_BYTES = 2 ** 24;
/** Enough to know what all are made for. */
const LOOKED_AT = 400;

interface Entry {
  name: string;
  method: number;
  packedBytes: number;
  bytes: number;
  at: number;
}

/** The directory of a ZIP file (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.12); of what is none, nothing. */
export function zipEntries(zip: Buffer): Entry[] {
  const mark = Buffer.alloc(4);
  mark.writeUInt32LE(END_OF_DIRECTORY);
  const end = zip.lastIndexOf(mark);
  if (end < 0 || end + END_BYTES > zip.length) return [];
  const entries: Entry[] = [];
  let at = zip.readUInt32LE(end + 16);
  while (at + 46 <= zip.length && zip.readUInt32LE(at) === DIRECTORY_ENTRY && entries.length < MAX_ENTRIES) {
    const nameBytes = zip.readUInt16LE(at + 28);
    entries.push({
      name: zip.toString("utf8", at + 46, at + 46 + nameBytes),
      method: zip.readUInt16LE(at + 10),
      packedBytes: zip.readUInt32LE(at + 20),
      bytes: zip.readUInt32LE(at + 24),
      at: zip.readUInt32LE(at + 42),
    });
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return entries;
}

/** @returns undefined for one that is damaged, too large, or packed in a way that jars are not */
export function zipContent(zip: Buffer, { at, method, packedBytes, bytes }: Entry): Buffer | undefined {
  if (bytes > MAX_ENTRY_BYTES || at + 30 > zip.length) return undefined;
  const begin = at + 30 + zip.readUInt16LE(at + 26) + zip.readUInt16LE(at + 28);
  const packed = zip.subarray(begin, begin + packedBytes);
  try {
    if (method === 0) return packed;
    return method === 8 ? inflateRawSync(packed, { maxOutputLength: MAX_ENTRY_BYTES }) : undefined;
  } catch {
    return undefined;
  }
}

/** The format of class files of Java 17 is 61, and so on. */
const MAJOR_OF_JAVA_0 = 44;

/** @returns the Java that it is made for; undefined for what is no class */
function javaOf(bytes: Buffer | undefined): number | undefined {
  if (!bytes || bytes.length < 8 || bytes.readUInt32BE(0) !== 0xcafebabe) return undefined;
  return bytes.readUInt16BE(6) - MAJOR_OF_JAVA_0;
}

/** Of the jar's manifest, whose lines go on after 70 letters. */
function manifestField(text: string, field: string): string | undefined {
  return new RegExp(`^${field}: (.*)$`, "m").exec(text.replace(/\r?\n /g, ""))?.[1]?.trim();
}

/** @param isOwn whether the application has a jar of that file name */
export function jarNeeds(
  zip: Buffer,
  file: string,
  versions: Versions,
  isOwn: (jar: string) => boolean,
): Need[] {
  const entries = zipEntries(zip);
  const classes = entries.filter(
    ({ name }) => name.endsWith(".class") && !name.startsWith("META-INF/versions/"),
  );
  const contents = classes.slice(0, LOOKED_AT).map((entry) => zipContent(zip, entry));
  const manifest = entries.find(({ name }) => name === "META-INF/MANIFEST.MF");
  const text = (manifest && zipContent(zip, manifest)?.toString("utf8")) ?? "";
  const named = (manifestField(text, "Class-Path") ?? "")
    .split(/\s+/)
    .filter((name) => name.endsWith(".jar"));
  return [
    ...(classes.length > 0 ? javaNeeds(contents, file, versions) : []),
    ...named.flatMap((path): Need[] => {
      const name = path.slice(path.lastIndexOf("/") + 1);
      if (isOwn(name)) return [];
      const paths = [...(path.startsWith("/") ? [path.slice(1)] : []), `usr/share/java/${name}`];
      return [{ file, how: "Class-Path", what: name, paths, confidence: "likely" }];
    }),
  ];
}

/** The runtime that these classes need. */
export function javaNeeds(
  classes: readonly (Buffer | undefined)[],
  file: string,
  versions: Versions,
): Need[] {
  const java = Math.max(...classes.map((bytes) => javaOf(bytes) ?? 0));
  const hasWindows = classes.some(
    (bytes) => bytes?.includes("java/awt/Frame") || bytes?.includes("javax/swing/"),
  );
  const folder = `usr/lib/jvm/java-${Math.max(java, versions.java)}-openjdk-amd64`;
  const runtime = java <= versions.java ? ["usr/lib/jvm/default-java"] : [`${folder}/bin/java`];
  const how = java > 0 ? `classes for Java ${java}` : "classes";
  return [
    { file, how, what: "java", paths: runtime, confidence: "certain" },
    ...(hasWindows
      ? [
          {
            file,
            how: "opens windows",
            what: "AWT",
            paths: [`${folder}/lib/libawt_xawt.so`],
            confidence: "likely" as const,
          },
        ]
      : []),
  ];
}
