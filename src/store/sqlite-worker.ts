/** The thread that owns the store's file (sqlite.ts starts it): does one request after the other, and answers each. */
import { parentPort, workerData } from "node:worker_threads";
import { SqliteFile } from "./sqlite-file.ts";
import { Compacted, NotWritten, type Write } from "./store.ts";

/** One method of SqliteFile, and what it takes. */
export type Request =
  | { method: "get" | "range"; key: string }
  | { method: "since"; key: string; revision: number }
  | { method: "commit"; writes: readonly Write[] }
  | { method: "compact" | "continueAfter"; revision: number }
  | { method: "revision" | "close" };

/** Classes do not cross threads: an error is its message, of Compacted the revision, and whether it is NotWritten. */
export type Answer = { result: unknown } | { error: string; compacted?: number; notWritten?: boolean };

function run(file: SqliteFile, request: Request): unknown {
  switch (request.method) {
    case "get":
    case "range":
      return file[request.method](request.key);
    case "since":
      return file.since(request.key, request.revision);
    case "commit":
      return file.commit(request.writes);
    case "compact":
    case "continueAfter":
      return file[request.method](request.revision);
    case "revision":
    case "close":
      return file[request.method]();
  }
}

const answer = (action: () => unknown): Answer => {
  try {
    return { result: action() };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      error: message,
      ...(error instanceof Compacted ? { compacted: error.oldest } : {}),
      ...(error instanceof NotWritten ? { notWritten: true } : {}),
    };
  }
};

const port = parentPort;
if (port) {
  let file: SqliteFile | undefined;
  // The first answer is for the opening.
  port.postMessage(
    answer(() => {
      file = new SqliteFile(String(workerData));
      return file.revision();
    }),
  );
  if (!file) port.close();
  port.on("message", (request: Request) => {
    port.postMessage(answer(() => file && run(file, request)));
    if (request.method === "close") port.close();
  });
}
