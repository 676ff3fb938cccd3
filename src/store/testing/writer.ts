/**
 * A process that writes to a store until it is killed, and says on stdout what was acknowledged: one "KEY VALUE REVISION" per
 * line, written before the next commit begins. Usage: node writer.ts FILE ROUND
 */
import { writeSync } from "node:fs";
import { openSqliteStore } from "../sqlite.ts";

const [, , file = "", round = "0"] = process.argv;
const store = await openSqliteStore(file);
const last = new Map((await store.range("")).entries.map(({ key, revision }) => [key, revision]));
const writer = async (name: string) => {
  for (let i = 0; ; i++) {
    const key = `x/${name}${i % 3}`;
    const value = `${round}.${i}${"-".repeat(500)}`;
    const entry = await store.commit({ key, value, expected: last.get(key) ?? 0 });
    last.set(key, entry.revision);
    // Synchronous, so that what the parent reads is what was acknowledged before the kill.
    writeSync(1, `${key} ${value} ${entry.revision}\n`);
  }
};
await Promise.all(["a", "b", "c"].map(writer));
