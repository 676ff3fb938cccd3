/** `vireo completion`: the scripts that shells load; and `vireo __complete`, which these ask at every Tab. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { discover, findKind, resourcePath, type ServedKind } from "../client/discovery.ts";
import { readFieldDocs } from "../client/field-docs.ts";
import type { Connection } from "../client/kubeconfig.ts";
import { isFields } from "../resource/fields.ts";
import type { Resource } from "../resource/object.ts";
import { type Candidate, complete, type LinePlace, readLine, type Source } from "./complete.ts";
import { openConnection } from "./connect.ts";
import { fieldAt } from "./explain-fields.ts";
import { ROOT, statePaths } from "./paths.ts";
import { itemsOf, query } from "./resources.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** Who waits for a completion waits no longer. */
const PATIENCE_MS = 2000;
/** Names are all that is wanted: in pages, so that a part of many is there when patience ends. */
const METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const PAGE = "2000";

/** The script that the shell is to load. It calls this checkout's vireo, wherever the user stands. */
export function completionScript(shell: Shell): string {
  const text = readFileSync(join(import.meta.dirname, "completion", `vireo.${shell}`), "utf8");
  const launcher = join(ROOT, "vireo");
  const quoted =
    shell === "fish" ? `'${launcher.replace(/[\\']/g, "\\$&")}'` : `'${launcher.replaceAll("'", "'\\''")}'`;
  return text.replaceAll("@VIREO@", () => quoted);
}

/** Prints "VALUE<tab>ABOUT" for each candidate, or ":files". */
export async function answerCompletion(
  program: Command,
  words: readonly string[],
  print: (line: string) => void,
): Promise<void> {
  const line = readLine(program, words);
  await using source = openSource(line.place, AbortSignal.timeout(PATIENCE_MS));
  const found = await complete(line, source);
  // One line each, whatever a description has in it.
  const clean = (text = "") => text.replace(/[\p{Cc}\p{Cf}]+/gu, " ");
  if (found === "files") print(":files");
  else for (const { value, about } of found) print(`${value}\t${clean(about)}`);
}

/** What the control plane has that the line is for. Nothing is asked before it is needed. */
function openSource(place: LinePlace, signal: AbortSignal): Source & AsyncDisposable {
  let connection: Connection | undefined;
  let served: Promise<ServedKind[]> | undefined;
  const open = () => {
    connection ??= openConnection(statePaths(place.state), place.kubeconfig);
    return connection;
  };
  const kinds = () => {
    served ??= discover(open().client, signal);
    return served;
  };
  /** A word that cannot be completed is left to be typed: the reason only for those who call __complete by hand. */
  const orNothing = async <T>(ask: () => Promise<readonly T[]>): Promise<readonly T[]> => {
    try {
      return await ask();
    } catch (error) {
      process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
      return [];
    }
  };
  /** Metadata of all objects of the kind; as many as come in time. */
  const read = async (kind: ServedKind, namespace?: string): Promise<Resource["metadata"][]> => {
    const found: Resource["metadata"][] = [];
    let next: string | undefined;
    do {
      const page: unknown = await open()
        .client.request({
          method: "GET",
          path: `${resourcePath(kind, { namespace })}${query({ limit: PAGE, continue: next })}`,
          accept: METADATA,
          signal,
        })
        .catch((error: unknown) => {
          if (found.length === 0) throw error;
          return undefined;
        });
      found.push(...itemsOf(page).map(({ metadata }) => metadata));
      next = isFields(page) && isFields(page.metadata) ? String(page.metadata.continue ?? "") : "";
    } while (next);
    return found;
  };
  const named = async (word: string) => findKind(await kinds(), word);

  return {
    kinds: async () => {
      const found = await orNothing(kinds);
      if (found.length > 0) return found;
      // Without a server: those that it would have.
      const { KINDS } = await import("../kinds.ts");
      return KINDS;
    },
    names: (words) =>
      orNothing(async () => {
        const namespace = place.allNamespaces ? undefined : (place.namespace ?? open().namespace);
        const found = (await Promise.all(words.map(named))).filter((kind) => kind !== undefined);
        const all = await Promise.all(found.map((kind) => read(kind, namespace)));
        return [...new Set(all.flat().map(({ name }) => name))];
      }),
    namespaces: () =>
      orNothing(async () => {
        const own = await named("namespaces");
        const made = own ? await read(own).catch(() => []) : [];
        if (made.length > 0) return made.map(({ name }) => name);
        // Who may not list them knows those of what he may see.
        const filled = await Promise.all(["virtualmachines", "rolebindings"].map(named));
        const all = await Promise.all(filled.map((kind) => (kind ? read(kind) : [])));
        return [...new Set(["default", ...all.flat().map(({ namespace = "default" }) => namespace)])];
      }),
    fields: (word, path) =>
      orNothing(async (): Promise<Candidate[]> => {
        const kind = await named(word);
        if (!kind) return [];
        const root = await readFieldDocs(open().client, kind, word, signal);
        return fieldAt(root, path)
          .fields()
          .map(({ name, type, about: [meaning = ""] }) => ({
            value: name,
            about: `<${type}> ${meaning}`.trim(),
          }));
      }),
    [Symbol.asyncDispose]: async () => connection?.client.close(),
  };
}
