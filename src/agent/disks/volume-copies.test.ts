/** When copies of a machine's disks become the machine's, and when they go: whatever a killed agent or a power cut leaves of that. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { watchFlushes } from "../../system/testing/flushes.ts";
import { IMAGE, instanceOf } from "../testing/volumes.ts";
import { acceptCopies, makeCopies, settleCopies } from "./volume-copies.ts";

const UID = "aaaaaaaa-0000-4000-8000-000000000000";
const VOLUMES = { disks: [], seedBytes: 1, origin: { file: "base.qcow2" } };

let pool: StoragePool;
/** Of the machine's disks. */
let folder: string;
let target: Instance;
beforeEach(() => {
  const path = mkdtempSync(join(tmpdir(), "vireo-copies-"));
  pool = {
    apiVersion: "vireo.dev/v1",
    kind: "StoragePool",
    metadata: { name: "default" },
    spec: { directory: { path, shared: false } },
  };
  folder = join(path, "machines/default/a-01234567");
  const { metadata, ...rest } = instanceOf({ host: "b", incoming: true, copyDisks: VOLUMES });
  target = { ...rest, metadata: { ...metadata, uid: UID } };
});
afterEach(() => {
  rmSync(pool.spec.directory.path, { recursive: true });
});

const mark = () => join(folder, "copy.json");
function copies(uid = UID): void {
  mkdirSync(folder, { recursive: true });
  for (const file of ["root.qcow2", "seed.img"]) writeFileSync(join(folder, file), file);
  writeFileSync(mark(), JSON.stringify({ instance: uid }));
}
const ended = (reason: "Killed" | "HostRebooted" | "MigrationFailed"): Instance => ({
  ...target,
  status: {
    phase: "Failed",
    custody: "Released",
    end: { reason, message: "", time: "2026-01-01T00:00:00Z" },
  },
});

describe("accepted copies", () => {
  it("are the machine's before its guest runs on them, also after a power cut", async () => {
    copies();
    const flushes = await watchFlushes(() => existsSync(mark()));
    await acceptCopies(pool, target);
    expect(flushes).toEqual([{ path: folder, seen: false }]);
    // Its agent may have been killed before that was so.
    await acceptCopies(pool, target);
    expect(flushes).toHaveLength(2);
  });

  it.each(["Killed", "HostRebooted"] as const)(
    "stay when a power cut brought their mark back and the run ended (%s), and the next run finds them",
    async (reason) => {
      copies();
      await acceptCopies(pool, target);
      copies();
      await settleCopies(pool, ended(reason));
      expect(existsSync(join(folder, "root.qcow2"))).toBe(true);
      expect(existsSync(mark())).toBe(false);
      await settleCopies(pool, ended(reason));
      expect(existsSync(join(folder, "root.qcow2"))).toBe(true);
    },
  );

  it("may have been destroyed since", async () => {
    await settleCopies(pool, ended("Killed"));
    expect(existsSync(folder)).toBe(false);
  });
});

describe("copies of a migration that came to nothing", () => {
  it("go; those of another one, and disks, stay", async () => {
    copies();
    await settleCopies(pool, ended("MigrationFailed"));
    expect(existsSync(folder)).toBe(false);
    copies("bbbbbbbb-0000-4000-8000-000000000000");
    await settleCopies(pool, ended("MigrationFailed"));
    expect(existsSync(mark())).toBe(true);
    rmSync(mark());
    await settleCopies(pool, ended("MigrationFailed"));
    expect(existsSync(join(folder, "root.qcow2"))).toBe(true);
  });

  it.each([".gone-aaaaaaaa", ".new-aaaaaaaa"])(
    "go also when its agent was killed while they had another name (%s), and others' stay",
    async (name) => {
      const other = `${folder}${name.replaceAll("a", "b")}`;
      for (const part of [`${folder}${name}`, other, folder]) {
        mkdirSync(part, { recursive: true });
        writeFileSync(join(part, "root.qcow2"), "");
      }
      await settleCopies(pool, ended("MigrationFailed"));
      expect(existsSync(`${folder}${name}`)).toBe(false);
      expect(existsSync(join(other, "root.qcow2"))).toBe(true);
      expect(existsSync(join(folder, "root.qcow2"))).toBe(true);
    },
  );

  it("of an earlier one are gone when those of the next are made, also when its agent was killed at that", async () => {
    mkdirSync(dirname(folder), { recursive: true });
    mkdirSync(`${folder}.gone-aaaaaaaa`);
    await makeCopies({ own: pool, image: IMAGE, ofImage: pool, shared: [] }, target, VOLUMES);
    expect(readdirSync(dirname(folder))).toEqual([basename(folder)]);
  });
});
