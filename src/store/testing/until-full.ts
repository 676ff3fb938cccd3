/** Writes until the disk takes no more, looks at what there is, then goes on with more room: for sqlite.test.ts, under a limit of how large files may be. */
import { execFileSync } from "node:child_process";
import { openSqliteStore } from "../sqlite.ts";
import { NotWritten } from "../store.ts";

const [, , path = ""] = process.argv;
const store = await openSqliteStore(path);
const put = (key: number) => store.commit({ key: `x/${key}`, value: "x".repeat(100_000), expected: 0 });
let [key, wrong]: [number, unknown] = [0, undefined];
while (wrong === undefined)
  await put(++key).catch((error: unknown) => {
    wrong = error;
  });
// Not one byte more.
execFileSync("prlimit", ["--pid", String(process.pid), "--fsize=1:unlimited"]);
const others = await Promise.allSettled([
  store.compact(store.revision()),
  store.continueAfter(store.revision() + 1000),
  openSqliteStore(`${path}.new`),
]);
const before = [store.revision(), (await store.range("x/")).entries.length];
execFileSync("prlimit", ["--pid", String(process.pid), "--fsize=unlimited"]);
const { revision } = await put(key);
const messageOf = (error: unknown) => (error instanceof NotWritten ? error.message : String(error));
const messages = [wrong, ...others.map((each) => each.status === "rejected" && each.reason)].map(messageOf);
process.stdout.write(JSON.stringify({ messages, key, before, revision }));
await store.close();
