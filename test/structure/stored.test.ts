/**
 * What earlier versions of Vireo have stored is whole in this one. stored-0.1.jsonl was made from a backup (`vireo backup state`) of a small
 * installation: each line a key and its value. A kind that is new gets a line in the file of the version that brings it; a line that is
 * there is never changed. stored-0.1-rules.jsonl has what that one lacked: rules of policies; stored-0.2.jsonl what came after.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Operations } from "../../src/api/operations.ts";
import { Policy } from "../../src/director/kinds.ts";
import { KINDS } from "../../src/kinds.ts";
import { register } from "../../src/resource/kind.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";

const files = readdirSync(import.meta.dirname).filter((name) => /^stored-.*\.jsonl$/.test(name));
const entriesOf = (file: string): { key: string; value: unknown }[] =>
  readFileSync(join(import.meta.dirname, file), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

it.each(files)("%s is opened whole; opened again, nothing is written", async (file) => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-stored-"));
  const store = await openSqliteStore(join(folder, "store.sqlite"));
  const entries = entriesOf(file);
  for (const { key, value } of entries)
    await store.commit({ key, value: JSON.stringify(value), expected: 0 });

  const once = await Operations.open(store, KINDS);
  expect(once.invalid).toEqual([]);
  for (const kind of KINDS)
    expect((await once.list(kind, {})).items, kind.plural).toHaveLength(
      entries.filter(({ key }) => key.startsWith(`${kind.plural}/`)).length,
    );
  await once.close();
  const revision = store.revision();
  const twice = await Operations.open(store, KINDS);
  expect(store.revision()).toBe(revision);
  await twice.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

it("rules of policies have become expressions", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-stored-"));
  const store = await openSqliteStore(join(folder, "store.sqlite"));
  for (const { key, value } of entriesOf("stored-0.1-rules.jsonl"))
    await store.commit({ key, value: JSON.stringify(value), expected: 0 });
  const operations = await Operations.open(store, KINDS);
  expect((await operations.list(register(Policy), {})).items[0]).toMatchObject({
    apiVersion: "vireo.dev/v2",
    metadata: {
      managedFields: [{ apiVersion: "vireo.dev/v2", fieldsV1: { "f:spec": { "f:goals": {} } } }],
    },
    spec: {
      goals: [{ goal: "performance", weight: 1 }],
      required: ["host.cpu.mhz >= 3000", "host.disk.ssd"],
      preferred: [{ rule: 'host.memory.bytes >= quantity("64Gi")', weight: 10 }],
    },
  });
  await operations.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

it("there is an example of each kind", () => {
  const stored = new Set(files.flatMap(entriesOf).map(({ key }) => key.split("/")[0]));
  expect(KINDS.map(({ plural }) => plural).filter((plural) => !stored.has(plural))).toEqual([]);
});
