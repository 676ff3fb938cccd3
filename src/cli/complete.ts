/**
 * What the word under the cursor can become: `vireo __complete`, which the shells' scripts (completion/) ask. Verbs and options are read off
 * the command itself. What an argument or the value of an option may be, its placeholder says: `<kind...>`, `<namespace>`, `<file>`.
 */
import type { Command, Option } from "commander";
import type { ServedKind } from "../client/discovery.ts";

/** `about` is shown beside the value by shells that can. */
export interface Candidate {
  value: string;
  about?: string;
}

/** "files": the shell completes names of files by itself. */
export type Completion = readonly Candidate[] | "files";

/** What a completion needs to know of a kind; without `verbs` when no server was asked. */
export type KnownKind = Pick<
  ServedKind,
  "group" | "kind" | "plural" | "singular" | "shortNames" | "categories"
> & { verbs?: readonly string[] };

/** Where the line says that the objects are. */
export interface LinePlace {
  state?: string;
  kubeconfig?: string;
  namespace?: string;
  allNamespaces: boolean;
}

/** What there is. Each answers with less, rather than fails, when the control plane cannot be asked. */
export interface Source {
  kinds(): Promise<readonly KnownKind[]>;
  /** Of the kinds that these words name. */
  names(words: readonly string[]): Promise<readonly string[]>;
  namespaces(): Promise<readonly string[]>;
  /** The fields below the path of a kind. */
  fields(kind: string, path: readonly string[]): Promise<readonly Candidate[]>;
}

interface Context {
  verb: string;
  /** Arguments before the one that is completed. */
  before: readonly string[];
  current: string;
  source: Source;
}

/** A line up to the cursor, as the command would read it. */
export interface Line {
  command: Command;
  place: LinePlace;
  before: string[];
  /** The option whose value is completed. */
  option?: Option;
  /** "--output=" when it is written in one word with its option: stays in front of every candidate. */
  prefix: string;
  current: string;
  /** After `--` nothing is an option. */
  onlyArguments: boolean;
}

/** Names that a shell takes as they are: others are not offered, since they would be inserted without quotes. */
const PLAIN = /^[\w@][\w.:@-]*$/;
/** Which of the API's verbs a kind must have for one of ours. */
const NEEDS: Record<string, string> = { edit: "patch", delete: "delete" };
const OUTPUTS = ["table", "wide", "yaml", "json", "name", "jsonpath="];
const GOALS = ["condition=Ready", "delete", "create", "jsonpath="];

const values = (all: readonly string[]): Candidate[] => all.map((value) => ({ value }));

/** @param words those after `vireo`, the last of them up to the cursor */
export function readLine(program: Command, words: readonly string[]): Line {
  const line: Line = {
    command: program,
    place: { allNamespaces: false },
    before: [],
    prefix: "",
    current: words.at(-1) ?? "",
    onlyArguments: false,
  };
  const remember = (option: Option, value: string) => {
    const name = option.attributeName();
    if (name === "state" || name === "kubeconfig" || name === "namespace") line.place[name] = value;
    if (name === "allNamespaces") line.place.allNamespaces = true;
  };
  let pending: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (pending) {
      remember(pending, word);
      pending = undefined;
    } else if (line.onlyArguments) line.before.push(word);
    else if (word === "--") line.onlyArguments = true;
    else if (word.startsWith("-") && word !== "-") {
      const { option, value } = optionOf(line.command, word);
      if (option?.required && value === undefined) pending = option;
      else if (option) remember(option, value ?? "");
    } else {
      const subcommand = line.before.length === 0 ? named(line.command, word) : undefined;
      if (subcommand) line.command = subcommand;
      else line.before.push(word);
    }
  }
  if (pending) line.option = pending;
  else if (!line.onlyArguments && /^--[\w-]+=/.test(line.current)) {
    const { option, value = "" } = optionOf(line.command, line.current);
    if (option?.required) {
      line.option = option;
      line.prefix = line.current.slice(0, line.current.length - value.length);
      line.current = value;
    }
  }
  return line;
}

const named = (command: Command, word: string) =>
  command.commands.find((one) => one.name() === word || one.aliases().includes(word));

/** Options of the command and of those above it: `vireo get --state x` is understood, too. */
function optionsOf(command: Command): Option[] {
  const own = command.createHelp().visibleOptions(command);
  return command.parent
    ? [...own, ...optionsOf(command.parent).filter(({ long }) => long !== "--help")]
    : own;
}

/** "--output", "--output=yaml", "-o" and "-oyaml". */
function optionOf(
  command: Command,
  word: string,
): { option?: Option | undefined; value?: string | undefined } {
  const all = optionsOf(command);
  const [, long, value] = /^(--[\w-]+)(?:=(.*))?$/s.exec(word) ?? [];
  if (long) return { option: all.find((option) => option.long === long), value };
  return {
    option: all.find((option) => option.short === word.slice(0, 2)),
    ...(word.length > 2 ? { value: word.slice(2) } : {}),
  };
}

/** @returns all that begins with what is there already */
export async function complete(line: Line, source: Source): Promise<Completion> {
  const { command, option, prefix, current } = line;
  const context = { verb: command.name(), before: line.before, current, source };
  let found: Completion;
  if (option) found = await valuesOf(placeholderOf(option), option.argChoices, context);
  else if (!line.onlyArguments && current.startsWith("-")) found = optionCandidates(command, current);
  else if (command.commands.length > 0)
    found = ["help", undefined].includes(line.before[0]) ? commandCandidates(command) : [];
  else found = await argumentCandidates(command, context);
  if (found === "files") return found;
  return found
    .filter(({ value }) => value.startsWith(current))
    .map((candidate) => ({ ...candidate, value: `${prefix}${candidate.value}` }));
}

function optionCandidates(command: Command, current: string): Candidate[] {
  // Short ones only while nothing else is typed: the long ones tell what they are.
  return optionsOf(command).map(({ long, short, description }) => ({
    value: (current.startsWith("--") ? long : (long ?? short)) ?? "",
    about: description,
  }));
}

const commandCandidates = (command: Command): Candidate[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .map((one) => ({ value: one.name(), about: one.summary() || one.description() }));

const placeholderOf = ({ flags }: Option) => /[<[]([^>\].]+)/.exec(flags)?.[1] ?? "";

async function argumentCandidates(command: Command, context: Context): Promise<Completion> {
  const all = command.registeredArguments;
  const last = all.at(-1);
  const argument = all[context.before.length] ?? (last?.variadic ? last : undefined);
  return argument ? valuesOf(argument.name(), argument.argChoices, context) : [];
}

async function valuesOf(
  placeholder: string,
  choices: readonly string[] | undefined,
  context: Context,
): Promise<Completion> {
  if (choices) return values(choices);
  switch (placeholder) {
    case "file":
    case "folder":
      return "files";
    case "namespace":
      return values((await context.source.namespaces()).filter((name) => PLAIN.test(name)));
    case "form":
      return values(OUTPUTS);
    case "goal":
      return values(GOALS);
    case "kind":
      return objectCandidates(context);
    case "object":
      return objectCandidates({ ...context, before: [] });
    case "vm": {
      const slash = context.current.indexOf("/");
      return namedBy(slash === -1 ? "vm" : context.current.slice(0, slash), context);
    }
    case "host":
    case "plan":
    case "snapshot":
      return values((await context.source.names([placeholder])).filter((name) => PLAIN.test(name)));
    case "what":
      return explainCandidates(context);
    default:
      return [];
  }
}

/** `vm`, `vm,hosts`, `vm web-1 web-2`, `vm/web-1 host/a`. */
async function objectCandidates(context: Context): Promise<Candidate[]> {
  const { before, current, source } = context;
  const [first] = before;
  const slash = current.indexOf("/");
  if (slash !== -1) return namedBy(current.slice(0, slash), context);
  if (first === undefined) {
    const begin = current.slice(0, current.lastIndexOf(",") + 1);
    const given = begin.split(",");
    const kinds = await kindCandidates(context, current.slice(begin.length));
    return kinds
      .filter(({ value }) => !given.includes(value))
      .map((kind) => ({ ...kind, value: `${begin}${kind.value}` }));
  }
  if (first.includes("/"))
    return (await kindCandidates(context, current)).map((kind) => ({ ...kind, value: `${kind.value}/` }));
  const names = await source.names(first.split(","));
  return values(names.filter((name) => PLAIN.test(name) && !before.includes(name)));
}

/** "vm/web-1", "vm/web-2", … but not those that the line has already. */
async function namedBy(word: string, { before, source }: Context): Promise<Candidate[]> {
  const names = await source.names([word]);
  return values(
    names
      .filter((name) => PLAIN.test(name))
      .map((name) => `${word}/${name}`)
      .filter((value) => !before.includes(value)),
  );
}

async function kindCandidates({ verb, source }: Context, current: string): Promise<Candidate[]> {
  const needed = NEEDS[verb] ?? "list";
  const kinds = (await source.kinds()).filter(({ verbs }) => verbs?.includes(needed) ?? true);
  const found = new Map<string, string>();
  // A short name is its own completion: only for those who have begun it.
  for (const { plural, shortNames, kind } of kinds)
    for (const word of [plural, ...(current ? shortNames : [])]) if (!found.has(word)) found.set(word, kind);
  if (verb === "get")
    for (const category of kinds.flatMap(({ categories }) => categories))
      found.set(category, "several kinds at once");
  return [...found].map(([value, about]) => ({ value, about })).sort((a, b) => (a.value < b.value ? -1 : 1));
}

/** `vm/web-1`, `vm.spec.memory`. */
async function explainCandidates(context: Context): Promise<Candidate[]> {
  const { current, source } = context;
  const slash = current.indexOf("/");
  if (slash !== -1) return namedBy(current.slice(0, slash), context);
  const [kind = "", ...path] = current.split(".");
  if (path.length === 0) return kindCandidates(context, current);
  const begin = current.slice(0, current.lastIndexOf(".") + 1);
  const fields = await source.fields(kind, path.slice(0, -1));
  return fields.map((field) => ({ ...field, value: `${begin}${field.value}` }));
}
