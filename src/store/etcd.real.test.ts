/** The store over a real etcd. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openEtcdStore } from "./etcd.ts";
import { type Store, Unavailable } from "./store.ts";
import { testStore } from "./testing/conformance.ts";
import { type EtcdCluster, startEtcd } from "./testing/etcd.ts";

let cluster: EtcdCluster;
let roots = 0;
beforeAll(async () => {
  cluster = await startEtcd();
});
afterAll(() => cluster.stop());

const open = (root: string) => openEtcdStore({ endpoints: cluster.endpoints, root });

testStore("EtcdStore", async () => {
  const root = `/vireo-${++roots}`;
  let store: Store = await open(root);
  const others: Store[] = [];
  return {
    store,
    async another() {
      const other = await open(root);
      others.push(other);
      return other;
    },
    async reopen() {
      await store.close();
      store = await open(root);
      return store;
    },
    async remove() {
      await Promise.all([store, ...others].map((each) => each.close()));
    },
  };
});

describe("EtcdStore", () => {
  it("lives beside others in one etcd: reads come up to writes that are not its own", async () => {
    const [a, b] = [await open("/one"), await open("/two")];
    const other = await b.commit({ key: "x/a", value: "1", expected: 0 });
    expect(await a.latest()).toBe(other.revision);
    expect(await a.reached(other.revision, 3000)).toBe(true);
    expect(a.revision()).toBeGreaterThanOrEqual(other.revision);
    expect((await a.range("")).entries).toEqual([]);
    await Promise.all([a.close(), b.close()]);
  });

  it("shows one process the writes of another, in order", async () => {
    const [a, b] = [await open("/three"), await open("/three")];
    const seen: string[] = [];
    await a.watch("x/", a.revision(), (change) => seen.push(change.value));
    let expected = 0;
    for (let i = 0; i < 20; i++)
      expected = (await b.commit({ key: "x/a", value: String(i), expected })).revision;
    await a.commit({ key: "x/b", value: "last", expected: 0 });
    expect(seen).toEqual([...Array.from({ length: 20 }, (_, i) => String(i)), "last"]);
    await Promise.all([a.close(), b.close()]);
  });

  it("reads more than one page as of one revision", async () => {
    const store = await open("/four");
    await Promise.all(
      Array.from({ length: 1100 }, (_, i) =>
        store.commit({ key: `x/${1000 + i}`, value: String(i), expected: 0 }),
      ),
    );
    const { entries } = await store.range("x/");
    expect(entries).toHaveLength(1100);
    expect(new Set(entries.map(({ key }) => key)).size).toBe(1100);
    await store.close();
  });

  it("says which members it tried when none answers", async () => {
    const failing = openEtcdStore({ endpoints: ["127.0.0.1:1", "127.0.0.1:2"], root: "/x" });
    await expect(failing).rejects.toThrow("etcd: none of 127.0.0.1:1, 127.0.0.1:2 can be reached");
    await expect(failing).rejects.toBeInstanceOf(Unavailable);
  }, 30_000);
});
