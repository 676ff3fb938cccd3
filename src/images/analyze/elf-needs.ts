/** What programs and libraries need: what they are linked with, their dynamic linker, and libraries whose names stand in them, which they may open. Pure. */
import { posix } from "node:path";
import type { Elf } from "../rootfs/elf.ts";
import { ARCHITECTURE, type Need, programNeed } from "./needs.ts";

/** Where the dynamic linker of Debian looks by itself. */
const FOLDERS = [`usr/lib/${ARCHITECTURE}`, "usr/lib", "usr/lib64"];
/** A library's name with the version of its interface, standing alone: what dlopen is given. Without the version it is for compilers. */
const OPENED =
  /(?<=\0)(?:\/usr\/lib\/(?:x86_64-linux-gnu\/)?)?(lib[A-Za-z0-9_+.-]+\.so\.[0-9][0-9.]*)(?=\0)/g;
/** A folder of plugins, mostly of another package: /usr/lib/x86_64-linux-gnu/libmariadb3/plugin. */
const PLUGINS = /(?<=\0)\/usr\/lib\/x86_64-linux-gnu\/[A-Za-z0-9_+.-]+(?:\/[A-Za-z0-9_+.-]+)*(?=\/?\0)/g;
/** Functions of libc that read a file of another package. */
const DATABASES: readonly (readonly [RegExp, string])[] = [
  [/(?<=\0)getserv(?:ent|byname|byport)(?:_r)?(?=\0)/, "etc/services"],
  [/(?<=\0)getproto(?:ent|byname|bynumber)(?:_r)?(?=\0)/, "etc/protocols"],
];
const PROGRAMS = /(?<=\0)\/(?:usr\/)?s?bin\/[A-Za-z0-9_+.-]+(?=\0)/g;

/**
 * @param isOwn whether the application brings the library itself
 * @param file its path as the application has it
 */
export function elfNeeds(elf: Elf, bytes: Buffer, file: string, isOwn: (library: string) => boolean): Need[] {
  const needs: Need[] = [];
  const runPath = elf.runPath
    .filter((folder) => folder.startsWith("/"))
    .map((folder) => posix.normalize(folder).slice(1));
  const library = (name: string, how: string, confidence: Need["confidence"]) => {
    const base = posix.basename(name);
    const paths = name.startsWith("/")
      ? [name.slice(1)]
      : [...runPath, ...FOLDERS].map((folder) => posix.join(folder, name));
    needs.push({ file, how, what: base, paths, soname: base, confidence });
  };
  for (const name of elf.needed) if (!isOwn(posix.basename(name))) library(name, "linked", "certain");
  if (elf.interpreter)
    needs.push({
      file,
      how: "dynamic linker",
      what: elf.interpreter,
      paths: [elf.interpreter.slice(1)],
      confidence: "certain",
    });
  const text = bytes.toString("latin1");
  const linked = new Set([...elf.needed, elf.soname]);
  for (const name of new Set([...text.matchAll(OPENED)].map((match) => match[1] ?? "")))
    if (!linked.has(name) && !isOwn(name)) library(name, "names it (dlopen)", "possible");
  for (const path of new Set([...text.matchAll(PLUGINS)].map(([path]) => path)))
    if (!isOwn(posix.basename(path)) && !/\.so(?:\.|$)/.test(path))
      needs.push({
        file,
        how: "names a folder of",
        what: path,
        paths: [`${path.slice(1)}/*.so`],
        confidence: "likely",
      });
  // libc itself names them, too.
  if (elf.needed.includes("libc.so.6"))
    for (const [pattern, path] of DATABASES) {
      const [called] = pattern.exec(text) ?? [];
      if (called) needs.push({ file, how: "calls", what: called, paths: [path], confidence: "likely" });
    }
  for (const [path] of new Set(text.matchAll(PROGRAMS)))
    needs.push(programNeed(path, { file, how: "names it", confidence: "possible" }));
  return needs;
}
