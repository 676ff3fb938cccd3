/**
 * What every store must do, as tests: each implementation runs this suite in its own test file. The contract in words is
 * in store.ts.
 */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Change, Compacted, CompareFailed, type Store, type Write } from "../store.ts";

export interface StoreUnderTest {
  store: Store;
  /** The same store as another control plane has it; where only one process may have it, the same one. */
  another(): Promise<Store>;
  /** Closes the store and opens it again, as after a restart. */
  reopen(): Promise<Store>;
  remove(): Promise<void>;
}

const put = (key: string, value: string, expected: number): Write => ({ key, expected, value });
const remove = (key: string, expected: number): Write => ({ key, expected, value: undefined });

export function testStore(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name} as a store`, () => {
    let under: StoreUnderTest;
    let store: Store;
    beforeEach(async () => {
      under = await make();
      store = under.store;
    });
    afterEach(() => under.remove());

    const record = async (prefix: string, from: number) => {
      const changes: Change[] = [];
      const stop = await store.watch(prefix, from, (change) => changes.push(change));
      return { changes, stop };
    };

    it("gives each write a revision of its own, higher than all before", async () => {
      const before = store.revision();
      const a = await store.commit(put("x/a", "1", 0));
      const b = await store.commit(put("x/b", "2", 0));
      expect([a.revision, b.revision]).toEqual([before + 1, before + 2]);
      expect(store.revision()).toBe(before + 2);
      expect(await store.latest()).toBe(before + 2);
      expect(await store.get("x/a")).toEqual({ key: "x/a", value: "1", revision: before + 1 });
    });

    it("refuses a write that has not seen the last one, and then changes nothing", async () => {
      const a = await store.commit(put("x/a", "1", 0));
      const revision = store.revision();
      const stale = [
        put("x/a", "2", 0),
        put("x/a", "2", a.revision - 1),
        put("x/none", "2", 7),
        remove("x/none", 7),
        remove("x/a", 0),
      ];
      for (const write of stale) {
        const error = await store.commit(write).catch((e: unknown) => e);
        expect(error).toBeInstanceOf(CompareFailed);
        if (error instanceof CompareFailed) expect(error.revision).toBe(revision);
      }
      expect(store.revision()).toBe(revision);
      expect((await store.range("x/")).entries.map((entry) => entry.key)).toEqual(["x/a"]);
    });

    it("refuses a write when something was put under a guarded prefix since", async () => {
      const a = await store.commit(put("x/a", "1", 0));
      const since = a.revision;
      const guarded = (key: string): Write => ({ ...put(key, "1", 0), guards: [{ prefix: "x/", since }] });
      await store.commit(put("y/a", "1", 0));
      await store.commit(guarded("z/a"));
      const b = await store.commit(put("x/b", "1", 0));
      await expect(store.commit(guarded("z/b"))).rejects.toBeInstanceOf(CompareFailed);
      expect(await store.get("z/b")).toBeUndefined();
      await store.commit({ ...put("z/b", "1", 0), guards: [{ prefix: "x/", since: b.revision }] });
    });

    it("refuses a write when a guarded key was written or deleted since", async () => {
      const guarded = (key: string, revision: number): Write => ({
        ...put(key, "1", 0),
        guards: [{ key: "x/a", revision }],
      });
      const a = await store.commit(put("x/a", "1", 0));
      await store.commit(guarded("y/a", a.revision));
      const b = await store.commit(put("x/a", "2", a.revision));
      await expect(store.commit(guarded("y/b", a.revision))).rejects.toBeInstanceOf(CompareFailed);
      await store.commit(remove("x/a", b.revision));
      await expect(store.commit(guarded("y/b", b.revision))).rejects.toBeInstanceOf(CompareFailed);
      await store.commit(put("x/a", "2", 0));
      await expect(store.commit(guarded("y/b", b.revision))).rejects.toBeInstanceOf(CompareFailed);
      expect(await store.get("y/b")).toBeUndefined();
    });

    it("lets exactly one of many concurrent writers win, and tells the others", async () => {
      const first = await store.commit(put("x/a", "0", 0));
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) => store.commit(put("x/a", String(i), first.revision))),
      );
      expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
      for (const result of results)
        if (result.status === "rejected") expect(result.reason).toBeInstanceOf(CompareFailed);
    });

    it("shows at once, to whomever, what was acknowledged to anybody", async () => {
      const other = await under.another();
      let expected = 0;
      for (let i = 0; i < 30; i++) {
        const [writer, reader] = i % 2 ? [store, other] : [other, store];
        ({ revision: expected } = await writer.commit(put("x/a", String(i), expected)));
        expect(await reader.get("x/a")).toMatchObject({ value: String(i), revision: expected });
        expect((await reader.range("x/")).entries).toMatchObject([{ value: String(i) }]);
        expect(await reader.latest()).toBeGreaterThanOrEqual(expected);
        expect(await reader.reached(expected, 3000)).toBe(true);
        expect(reader.revision()).toBeGreaterThanOrEqual(expected);
      }
    });

    it("has a lease held by one at a time, however many want it", async () => {
      const other = await under.another();
      await store.commit(put("leases/a", "free", 0));
      let holding = 0;
      const hold = async (via: Store, holder: string): Promise<void> => {
        for (let times = 0; times < 5; ) {
          const lease = await via.get("leases/a");
          if (lease?.value !== "free") continue;
          const held = await via.commit(put("leases/a", holder, lease.revision)).catch((error: unknown) => {
            expect(error).toBeInstanceOf(CompareFailed);
          });
          if (!held) continue;
          expect(++holding).toBe(1);
          expect((await other.get("leases/a"))?.value).toBe(holder);
          holding--;
          await via.commit(put("leases/a", "free", held.revision));
          times++;
        }
      };
      await Promise.all(Array.from({ length: 6 }, (_, i) => hold(i % 2 ? store : other, `holder-${i}`)));
    });

    it("lists what starts with a prefix, sorted, as of one revision", async () => {
      for (const key of ["vms/b", "vms/a", "vmsx/a", "vm/a"]) await store.commit(put(key, key, 0));
      const { entries, revision } = await store.range("vms/");
      expect(entries.map((entry) => entry.key)).toEqual(["vms/a", "vms/b"]);
      expect(revision).toBe(store.revision());
      expect((await store.range("")).entries).toHaveLength(4);
    });

    it("shows a watch every change after its revision, once and in order, with the value before", async () => {
      const a = await store.commit(put("x/a", "1", 0));
      const from = store.revision();
      const second = await store.commit(put("x/a", "2", a.revision));
      const { changes, stop } = await record("x/", from);
      await store.commit(put("y/a", "other", 0));
      await store.commit(remove("x/a", second.revision));
      await store.commit(put("x/a", "3", 0));
      stop();
      const [again] = (await store.range("x/")).entries;
      await store.commit(put("x/a", "4", again?.revision ?? 0));
      expect(changes.map(({ type, value, previous }) => [type, value, previous])).toEqual([
        ["put", "2", "1"],
        ["delete", "2", undefined],
        ["put", "3", undefined],
      ]);
      const revisions = changes.map((change) => change.revision);
      expect(revisions).toEqual([...revisions].sort((x, y) => x - y));
      expect(new Set(revisions).size).toBe(revisions.length);
    });

    it("has told the watches of a write before the writer hears that it is done", async () => {
      const { changes } = await record("x/", store.revision());
      await store.commit(put("x/a", "1", 0));
      expect(changes).toHaveLength(1);
    });

    it("tells a watch that begins while another is being told nothing twice", async () => {
      const from = store.revision();
      const inner: number[] = [];
      let begun: Promise<unknown> | undefined;
      await store.watch("x/", from, () => {
        begun ??= store.watch("x/", from, (change) => inner.push(change.revision));
      });
      await Promise.all([store.commit(put("x/a", "1", 0)), store.commit(put("x/b", "1", 0))]);
      await store.commit(put("x/c", "1", 0));
      await begun;
      expect(inner).toEqual([from + 1, from + 2, from + 3]);
    });

    it("fails a watch from before compaction, never skips; what is current stays", async () => {
      const start = store.revision();
      const a = await store.commit(put("x/a", "1", 0));
      await store.commit(put("x/a", "2", a.revision));
      const now = store.revision();
      await store.compact(now);
      await store.compact(start);
      await expect(store.watch("x/", start, () => {})).rejects.toBeInstanceOf(Compacted);
      await expect(store.watch("x/", now - 1, () => {})).rejects.toBeInstanceOf(Compacted);
      const { changes } = await record("x/", now);
      expect(changes).toEqual([]);
      expect((await store.get("x/a"))?.value).toBe("2");
      await store.compact(now + 1000);
      expect(store.revision()).toBe(now);
      const b = await store.commit(put("x/b", "1", 0));
      expect(b.revision).toBe(now + 1);
      expect(changes).toHaveLength(1);
    });

    it("is the same after it was opened again: values, revision, history, compaction", async () => {
      const a = await store.commit(put("x/a", "ä\u0000\u{1F600}", 0));
      await store.compact(store.revision());
      await store.commit(put("x/b", "1", 0));
      await store.commit(remove("x/b", store.revision()));
      const revision = store.revision();
      store = await under.reopen();
      expect(store.revision()).toBe(revision);
      expect(await store.get("x/a")).toEqual(a);
      const { changes } = await record("x/", revision - 2);
      expect(changes.map((change) => change.type)).toEqual(["put", "delete"]);
      await expect(store.watch("x/", revision - 3, () => {})).rejects.toBeInstanceOf(Compacted);
    });

    it("goes on after a revision that it is given, for ever", async () => {
      const high = store.revision() + 1_000_000;
      await store.continueAfter(high);
      const a = await store.commit(put("x/a", "1", 0));
      expect(a.revision).toBeGreaterThan(high);
      store = await under.reopen();
      expect(store.revision()).toBeGreaterThanOrEqual(a.revision);
      expect(await store.get("x/a")).toEqual(a);
      const { changes } = await record("x/", store.revision());
      const since = { prefix: "x/", since: a.revision };
      const b = await store.commit({ ...put("x/a", "2", a.revision), guards: [since] });
      expect(changes).toEqual([{ type: "put", key: "x/a", value: "2", previous: "1", revision: b.revision }]);
      await store.compact(b.revision);
      await expect(store.watch("x/", a.revision, () => {})).rejects.toBeInstanceOf(Compacted);
    });

    it("agrees with a plain map, whatever is written", async () => {
      const key = fc.constantFrom("m/a", "m/b", "m/c");
      const step = fc.record({ key, kind: fc.constantFrom("put", "delete", "stale"), value: fc.string() });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const from = store.revision();
          const model = new Map((await store.range("m/")).entries.map((entry) => [entry.key, entry]));
          const replica = new Map([...model].map(([k, entry]) => [k, entry.value]));
          const { changes, stop } = await record("m/", from);
          for (const { key: k, kind, value } of steps) {
            const expected = (model.get(k)?.revision ?? 0) + (kind === "stale" ? 1 : 0);
            const write = kind === "delete" && expected ? remove(k, expected) : put(k, value, expected);
            const done = await store.commit(write).catch(() => undefined);
            expect(done === undefined).toBe(kind === "stale");
            if (done && write.value !== undefined) model.set(k, done);
            else if (done) model.delete(k);
          }
          stop();
          for (const change of changes)
            if (change.type === "put") replica.set(change.key, change.value);
            else replica.delete(change.key);
          const { entries } = await store.range("m/");
          expect(entries).toEqual([...model.values()].sort((x, y) => (x.key < y.key ? -1 : 1)));
          expect(replica).toEqual(new Map(entries.map((entry) => [entry.key, entry.value])));
        }),
        { numRuns: 30 },
      );
    });
  });
}
