/** What jars and classes ask for: the Java that they are made for, and the jars that they name. */
import type { LanguageVersions } from "../releases/release.ts";
import type { Need } from "./needs.ts";
import { zipContent, zipEntries } from "./zip.ts";

/** More is no class or manifest. */
const MAX_BYTES = 2 ** 24;
/** Enough to know what all are made for. */
const LOOKED_AT = 400;

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
  versions: LanguageVersions,
  isOwn: (jar: string) => boolean,
): Need[] {
  const entries = zipEntries(zip);
  const classes = entries.filter(
    ({ name }) => name.endsWith(".class") && !name.startsWith("META-INF/versions/"),
  );
  const contents = classes.slice(0, LOOKED_AT).map((entry) => zipContent(zip, entry, MAX_BYTES));
  const manifest = entries.find(({ name }) => name === "META-INF/MANIFEST.MF");
  const text = (manifest && zipContent(zip, manifest, MAX_BYTES)?.toString("utf8")) ?? "";
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
  versions: LanguageVersions,
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
