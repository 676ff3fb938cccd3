/** The thread that reads package lists (package-index.ts starts it): makes the file of an index, or answers what is asked of one. */
import { execFileSync } from "node:child_process";
import { parentPort, workerData } from "node:worker_threads";
import { IndexFile, type SearchOptions, writeIndex } from "./index-file.ts";
import { nearest } from "./nearest.ts";

/** What the thread is for. */
export type Work = { make: string; lists: readonly string[] } | { open: string };

export type Question =
  | { method: "search"; text: string; options: SearchOptions }
  | { method: "closure"; chosen: readonly string[]; installed: readonly string[]; essential: boolean }
  | { method: "nearest"; name: string }
  | { method: "about" };

export type Answer =
  | { result: unknown }
  | {
      error: string;
      /** The file cannot be read. */
      damaged?: true;
    };

const MAX_LIST_BYTES = 2 ** 30;

/** Lists are kept compressed; apt knows how. */
function* textsOf(lists: readonly string[]): Generator<string> {
  for (const list of lists)
    yield execFileSync("/usr/lib/apt/apt-helper", ["cat-file", list], {
      encoding: "utf8",
      maxBuffer: MAX_LIST_BYTES,
      stdio: ["ignore", "pipe", "ignore"],
    });
}

function answer(index: IndexFile, question: Question): unknown {
  switch (question.method) {
    case "search":
      return index.search(question.text, question.options);
    case "closure": {
      const essential = question.essential ? index.essential() : [];
      return index.closure([...new Set([...essential, ...question.chosen])], question.installed);
    }
    case "nearest":
      return nearest(question.name, index.names());
    case "about":
      return { packages: index.size, sections: index.sections() };
  }
}

const inWords = (error: unknown): Answer => ({
  error: error instanceof Error ? error.message : String(error),
  // What is asked is never at fault: statements are made here.
  ...(error instanceof Error && "code" in error && error.code === "ERR_SQLITE_ERROR"
    ? { damaged: true }
    : {}),
});

const port = parentPort;
const work = workerData as Work; // as package-index.ts gives it
if (port && "make" in work) {
  await writeIndex(work.make, textsOf(work.lists)).then(
    () => port.postMessage({ result: undefined } satisfies Answer),
    (error: unknown) => port.postMessage(inWords(error)),
  );
} else if (port && "open" in work) {
  let index: IndexFile | undefined;
  port.on("message", (question: Question) => {
    try {
      index ??= new IndexFile(work.open);
      port.postMessage({ result: answer(index, question) } satisfies Answer);
    } catch (error) {
      port.postMessage(inWords(error));
    }
  });
}
