/** What Python files import, without running Python: strings and comments are taken out, then lines read with the blocks that they stand in. Pure. */
import type { LanguageVersions } from "../releases/release.ts";
import { CONFIDENCES, type Confidence, type Need } from "./needs.ts";

/** Of Debian's Python: no file has them (sys.builtin_module_names). */
const BUILT_IN = new Set(
  `_abc _ast _bisect _blake2 _codecs _collections _csv _datetime _elementtree _functools _heapq _imp _io _locale _md5 _operator _pickle _posixsubprocess _random
  _sha1 _sha256 _sha3 _sha512 _signal _socket _sre _stat _statistics _string _struct _symtable _thread _tokenize _tracemalloc _typing _warnings _weakref array atexit
  binascii builtins cmath errno faulthandler fcntl gc grp itertools marshal math posix pwd pyexpat select spwd sys syslog time unicodedata xxsubtype zlib __future__ __main__`.split(
    /\s+/,
  ),
);

export interface Import {
  /** "a.b", "a.b.c" of `from a.b import c`. */
  names: string[];
  /** Its line, from 1 on. */
  line: number;
  confidence: Confidence;
}

/** Comments gone, strings emptied; lines stay where they are. */
export function withoutStrings(text: string): string {
  let out = "";
  for (let at = 0; at < text.length; ) {
    const char = text[at] ?? "";
    if (char === "#") {
      const end = text.indexOf("\n", at);
      at = end < 0 ? text.length : end;
      continue;
    }
    if (char !== '"' && char !== "'") {
      out += char;
      at += 1;
      continue;
    }
    const quote = text.startsWith(char.repeat(3), at) ? char.repeat(3) : char;
    let end = at + quote.length;
    while (end < text.length && !text.startsWith(quote, end)) {
      if (quote.length === 1 && text[end] === "\n") break;
      end += text[end] === "\\" ? 2 : 1;
    }
    const inside = text.slice(at, end + quote.length);
    out += `""${"\n".repeat(inside.split("\n").length - 1)}`;
    at = end + (quote.length === 1 && text[end] === "\n" ? 0 : quote.length);
  }
  return out;
}

interface Open {
  indent: number;
  /** What the block does to the imports in it. */
  confidence: Confidence | "never";
}

/** Whether the try block that begins at this line lets go of a missing module. */
function forgives(lines: readonly string[], at: number, indent: number): boolean {
  for (let i = at + 1; i < lines.length; i++) {
    const line = lines[i] ?? "";
    if (line.trim() === "") continue;
    const here = line.length - line.trimStart().length;
    if (here > indent) continue;
    if (here < indent || !/^\s*(?:except|finally|else)\b/.test(line)) return false;
    if (
      /^\s*except\s*(?::|.*\b(?:ImportError|ModuleNotFoundError|Exception|AttributeError|OSError)\b)/.test(
        line,
      )
    )
      return true;
  }
  return false;
}

/** All imports of modules that are not relative. */
export function importsOf(source: string): Import[] {
  // Lines that go on are one.
  const lines = withoutStrings(source)
    .replace(/\\\r?\n/g, " ")
    .split(/\r?\n/);
  const open: Open[] = [];
  const found: Import[] = [];
  for (let i = 0; i < lines.length; i++) {
    let line = lines[i] ?? "";
    if (line.trim() === "") continue;
    const indent = line.length - line.trimStart().length;
    while (open.length > 0 && (open.at(-1)?.indent ?? 0) >= indent) open.pop();
    const first = i;
    // "from a import (" goes on until ")".
    if (/^\s*from\b.*\([^)]*$/.test(line))
      while (!line.includes(")") && i + 1 < lines.length) line += ` ${(lines[++i] ?? "").trim()}`;
    for (const statement of line.split(";")) {
      const confidence = open.reduce<Confidence | "never">(
        (least, block) => (weight(block.confidence) > weight(least) ? block.confidence : least),
        "certain",
      );
      if (confidence === "never") continue;
      const oneLine = /^\s*(?:try|else|finally)\s*:\s*(?=import|from)/;
      const names = namesIn(statement.replace(oneLine, ""));
      if (names.length > 0) found.push({ names, line: first + 1, confidence });
    }
    const opened = blockOf(line, () => forgives(lines, i, indent));
    if (opened) open.push({ indent, confidence: opened });
  }
  return found;
}

const weight = (confidence: Confidence | "never") => [...CONFIDENCES, "never"].indexOf(confidence);

function blockOf(line: string, isForgiving: () => boolean): Open["confidence"] | undefined {
  if (/^\s*try\s*:/.test(line)) return isForgiving() ? "possible" : "certain";
  if (/^\s*except\b/.test(line)) return "possible";
  if (/^\s*(?:async\s+)?def\b/.test(line)) return "likely";
  if (/^\s*if\b.*\bTYPE_CHECKING\b/.test(line)) return "never";
  if (/^\s*(?:if|elif|else)\b/.test(line)) return /__name__/.test(line) ? "certain" : "possible";
  return undefined;
}

function namesIn(statement: string): string[] {
  const plain = /^\s*import\s+(.+)$/.exec(statement);
  if (plain) return (plain[1] ?? "").split(",").map(nameOf).filter(isName);
  const from = /^\s*from\s+([\w.]+)\s+import\s+\(?([^)]*)/.exec(statement);
  const [, module = "", list = ""] = from ?? [];
  if (!isName(module)) return [];
  const inside = list.split(",").map(nameOf).filter(isName);
  return inside.length > 0 ? inside.map((name) => `${module}.${name}`) : [module];
}

const nameOf = (part: string) => part.trim().split(/\s+/)[0] ?? "";
const isName = (text: string) => /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/.test(text);

/** Where a module may be, the deepest first: several packages may share the first part of their modules' names. */
export function modulePaths(name: string, { python }: LanguageVersions): string[] {
  const parts = name.split(".");
  const paths: string[] = [];
  for (let depth = parts.length; depth > 0; depth--) {
    const path = parts.slice(0, depth).join("/");
    for (const folder of [`usr/lib/python${python}`, "usr/lib/python3/dist-packages"])
      paths.push(`${folder}/${path}/__init__.py`, `${folder}/${path}.py`);
    for (const folder of [`usr/lib/python${python}/lib-dynload`, "usr/lib/python3/dist-packages"])
      paths.push(`${folder}/${path}.cpython-*`, `${folder}/${path}.abi3.so`);
  }
  // Without __init__.py.
  return [...paths, `usr/lib/python3/dist-packages/${parts[0]}/*`];
}

/** @param isOwn whether the application has the module itself */
export function pythonNeeds(
  source: string,
  file: string,
  versions: LanguageVersions,
  isOwn: (module: string) => boolean,
): Need[] {
  return importsOf(source).flatMap(({ names, line, confidence }) =>
    names.flatMap((name) => {
      const [top = ""] = name.split(".");
      if (BUILT_IN.has(top) || isOwn(top)) return [];
      const need = { file: `${file}:${line}`, how: "import", what: name, confidence };
      return [{ ...need, paths: modulePaths(name, versions) }];
    }),
  );
}
