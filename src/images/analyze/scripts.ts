/** What Perl, Ruby, Node and shell scripts ask for. Pure. */
import type { LanguageVersions } from "../releases/release.ts";
import { ARCHITECTURE, type Confidence, type Need, programNeed } from "./needs.ts";

/** The number of the line at this place. */
const lineAt = (text: string, at: number) => text.slice(0, at).split("\n").length;

export function perlNeeds(
  source: string,
  file: string,
  { perl }: LanguageVersions,
  isOwn: (path: string) => boolean,
): Need[] {
  // Documentation, and what comes after the program.
  const text = source
    .replace(/^=[a-zA-Z][\s\S]*?^=cut\b.*$/gm, (pod) => "\n".repeat(pod.split("\n").length - 1))
    .replace(/^__(?:END|DATA)__$[\s\S]*/m, "");
  const short = perl.replace(/\.\d+$/, "");
  const needs: Need[] = [];
  const need = (module: string, how: string, at: number, confidence: Confidence) => {
    const path = `${module.replaceAll("::", "/")}.pm`;
    if (isOwn(path)) return;
    const paths = [
      `usr/lib/${ARCHITECTURE}/perl-base/${path}`,
      `usr/share/perl5/${path}`,
      `usr/lib/${ARCHITECTURE}/perl5/${short}/${path}`,
      `usr/share/perl/${perl}/${path}`,
      `usr/lib/${ARCHITECTURE}/perl/${perl}/${path}`,
    ];
    needs.push({ file: `${file}:${lineAt(text, at)}`, how, what: module, paths, confidence });
  };
  for (const match of text.matchAll(/^([ \t]*)(use|require)\s+([A-Za-z_]\w*(?:::\w+)*)([^;\n]*)/gm)) {
    const [, indent = "", how = "", module = "", rest = ""] = match;
    // In a block it may be one that is only tried.
    const confidence = how === "use" ? (indent ? "likely" : "certain") : indent ? "possible" : "likely";
    need(module, how, match.index, confidence);
    if (module === "parent" || module === "base")
      for (const [name] of rest.matchAll(/\b[A-Z]\w*(?:::\w+)*/g)) need(name, how, match.index, confidence);
  }
  for (const match of text.matchAll(/\beval\s*[{"'(][^}"')]*?\b(?:require|use)\s+([A-Z]\w*(?:::\w+)*)/g))
    need(match[1] ?? "", "eval", match.index, "possible");
  return needs;
}

export function rubyNeeds(
  source: string,
  file: string,
  { ruby }: LanguageVersions,
  isOwn: (path: string) => boolean,
): Need[] {
  const text = source.replace(/^=begin\b[\s\S]*?^=end\b.*$/gm, (block) =>
    "\n".repeat(block.split("\n").length - 1),
  );
  return [...text.matchAll(/^([ \t]*)require\s*\(?\s*["']([\w./-]+)["']/gm)].flatMap((match) => {
    const [, indent = "", name = ""] = match;
    const path = name.replace(/\.rb$/, "");
    if (isOwn(path)) return [];
    const [gem = ""] = path.split("/");
    const paths = [
      `usr/lib/ruby/vendor_ruby/${path}.rb`,
      `usr/lib/ruby/${ruby}/${path}.rb`,
      `usr/lib/${ARCHITECTURE}/ruby/${ruby}/${path}.so`,
      `usr/lib/${ARCHITECTURE}/ruby/vendor_ruby/${ruby}/${path}.so`,
      `usr/share/rubygems-integration/all/gems/${gem}-*/lib/${path}.rb`,
      `usr/share/rubygems-integration/all/gems/${gem.replaceAll("_", "-")}-*/lib/${path}.rb`,
    ];
    const confidence = indent ? "likely" : "certain";
    return [{ file: `${file}:${lineAt(text, match.index)}`, how: "require", what: name, paths, confidence }];
  });
}

/** https://nodejs.org/api/module.html#modulebuiltinmodules, those that have a name of their own. */
const NODE_BUILT_IN = new Set(
  `assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain events fs http http2 https inspector module net os path
  perf_hooks process punycode querystring readline repl stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib`.split(
    /\s+/,
  ),
);

/** "@scope/name/inner" -> "@scope/name". */
const nodePackage = (name: string) => /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name;

function nodeNeed(name: string, rest: Pick<Need, "file" | "how" | "confidence">): Need {
  const folders = ["usr/share/nodejs", `usr/lib/${ARCHITECTURE}/nodejs`, "usr/lib/nodejs"];
  const paths = folders.flatMap((folder) => [`${folder}/${name}/package.json`, `${folder}/${name}.js`]);
  return { ...rest, what: name, paths };
}

export function nodeNeeds(source: string, file: string, isOwn: (name: string) => boolean): Need[] {
  const text = source.replace(/\/\*[\s\S]*?\*\//g, (comment) => "\n".repeat(comment.split("\n").length - 1));
  const found = text.matchAll(
    /(?:^|[^.\w])(?:require|import)\s*\(\s*["']([^"'\n]+)["']\s*\)|^\s*(?:import|export)\b[^"';]*?["']([^"'\n]+)["']/gm,
  );
  return [...found].flatMap((match) => {
    const named = match[1] ?? match[2] ?? "";
    const name = nodePackage(named);
    const isFile = /^[./]/.test(named) || !/^(?:@[\w.-]+\/)?[\w.-]+$/.test(name);
    if (isFile || named.startsWith("node:") || NODE_BUILT_IN.has(name) || isOwn(name)) return [];
    const at = match.index + match[0].length;
    // In a line that is indented it is perhaps within a function.
    const begin = text.lastIndexOf("\n", at - 1) + 1;
    const confidence = /^\s/.test(text.slice(begin)) ? "likely" : "certain";
    return [nodeNeed(name, { file: `${file}:${lineAt(text, at)}`, how: "require", confidence })];
  });
}

/** Of a package.json. @param text its content */
export function nodeDependencies(text: string, file: string, isOwn: (name: string) => boolean): Need[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  const of = (field: string): unknown =>
    typeof value === "object" && value !== null ? Reflect.get(value, field) : undefined;
  const names = (field: string) => {
    const list = of(field);
    return typeof list === "object" && list !== null ? Object.keys(list) : [];
  };
  return [
    ...names("dependencies").map((name) => [name, "likely"] as const),
    ...names("optionalDependencies").map((name) => [name, "possible"] as const),
  ].flatMap(([name, confidence]) =>
    isOwn(name) ? [] : [nodeNeed(name, { file, how: "dependencies", confidence })],
  );
}

const SHELL_WORDS = new Set(
  `. : [ [[ ]] { } ! alias bg break builtin caller case cd command compgen complete continue coproc declare dirs disown do done echo elif else enable esac eval exec exit
  export false fc fg fi for function getopts hash help history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select set
  shift shopt source suspend test then time times trap true type typeset ulimit umask unalias unset until wait while`.split(
    /\s+/,
  ),
);
/** What comes after them is a command again. */
const BEFORE_COMMAND = new Set(
  "if then else elif do while until ! { time exec command eval nohup sudo env nice setsid exec xargs".split(
    " ",
  ),
);

export function shellNeeds(source: string, file: string, isOwn: (name: string) => boolean): Need[] {
  const functions = new Set(
    [...source.matchAll(/^\s*(?:function\s+)?([\w.-]+)\s*\(\s*\)/gm)].map((match) => match[1] ?? ""),
  );
  const needs: Need[] = [];
  const seen = new Set<string>();
  const checked = new Set(
    [...source.matchAll(/\b(?:command -v|which|type|hash)\s+["']?([\w.+/-]+)/g)].map(
      (match) => match[1] ?? "",
    ),
  );
  for (const { words, line } of commandsOf(source)) {
    const at = words.findIndex(
      (word) => !BEFORE_COMMAND.has(word) && !/^\w+\+?=/.test(word) && !/^-/.test(word),
    );
    const name = words[at] ?? "";
    if (!/^(?:\/(?:usr\/)?(?:local\/)?s?bin\/)?[A-Za-z_][\w.+-]*$/.test(name)) continue;
    if (SHELL_WORDS.has(name) || functions.has(name) || isOwn(name) || seen.has(name)) continue;
    seen.add(name);
    const confidence = checked.has(name) ? "possible" : "likely";
    needs.push(programNeed(name, { file: `${file}:${line}`, how: "runs", confidence }));
  }
  return needs;
}

/** File names of what a shell script reads into itself: `. "$DIR/functions"`. */
export const sourcedBy = (source: string): string[] =>
  [
    ...source.matchAll(/(?:^|[;&|{(]|\b(?:then|else|do))[ \t]*(?:\.|source)[ \t]+["']?([^\s"';|&)]+)/gm),
  ].flatMap(([, path = ""]) => /[\w.-]+$/.exec(path) ?? []);

/** The words of each simple command; strings are words that are no names. */
function commandsOf(source: string): { words: string[]; line: number }[] {
  const commands: { words: string[]; line: number }[] = [];
  let ends: string | undefined;
  const open: ("'" | '"' | "(")[] = [];
  for (const [i, text] of source.replace(/\\\n/g, " \r").split("\n").entries()) {
    if (ends !== undefined) {
      if (text.trim() === ends) ends = undefined;
      continue;
    }
    const plain = withoutStrings(text, open);
    const [, word] = /<<-?\s*["'\\]?(\w+)/.exec(text) ?? [];
    if (plain.includes("<<") && !plain.includes("<<<")) ends = word;
    // A pattern of "case" is no command.
    const line = plain.replace(/^\s*[^\s()]+(?:\s*\|\s*[^\s()]+)*\)/, "");
    for (const part of line.split(/;|&&|\|\||\||&(?!\d)|\$\(|\(|\)|`/)) {
      const words = part.trim().split(/\s+/).filter(Boolean);
      if (words.length > 0 && !["case", "for", "select", "function", "in"].includes(words[0] ?? ""))
        commands.push({ words, line: i + 1 });
    }
  }
  return commands;
}

/**
 * A line without its strings and comments; commands within strings stay.
 * @param open what has begun and not ended: strings, and "$(" in strings; changed by the line
 */
function withoutStrings(text: string, open: ("'" | '"' | "(")[]): string {
  let plain = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    const inside = open.at(-1);
    if (inside === "'") {
      if (char === "'") open.pop();
    } else if (char === "\\") at += 1;
    else if (inside === '"') {
      if (char === '"') open.pop();
      else if (text.startsWith("$(", at)) {
        open.push("(");
        plain += " ; ";
        at += 1;
      }
    } else if (char === '"' || char === "'") {
      open.push(char);
      plain += '"';
    } else if (inside === "(" && char === ")") {
      open.pop();
      plain += " ; ";
    } else if (char === "#" && (at === 0 || /[\s;]/.test(text[at - 1] ?? ""))) break;
    else plain += char;
  }
  return plain;
}
