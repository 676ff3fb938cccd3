import { describe, expect, it } from "vitest";
import type { Client, List, WatchEvent } from "../client/client.ts";
import { ApiError } from "../resource/errors.ts";
import type { Resource } from "../resource/object.ts";
import { Informer } from "./informer.ts";
import { Lease } from "./kinds.ts";
import { Index } from "./lookup.ts";
import { SteppedClock, settle } from "./testing/stepped-clock.ts";

const lease = (name: string, version: number, holder = "x"): Lease => ({
  apiVersion: "vireo.dev/v1",
  kind: "Lease",
  metadata: { name, resourceVersion: String(version) },
  spec: { holder, durationSeconds: 10, renewTime: "" },
});

/** A server played by hand: each list is answered by `state`, each watch by a script that the test pushes to. */
class Script {
  state: List<Lease> = { items: [], skipped: [], resourceVersion: "1" };
  readonly lists: number[] = [];
  readonly watchedFrom: string[] = [];
  failLists = 0;
  push: (event: WatchEvent<Lease> | Error | "end") => void = () => {};

  get client(): Client {
    const script = this;
    const refuse = () => Promise.reject(new Error("not played"));
    return {
      async list<T extends Resource>(): Promise<List<T>> {
        script.lists.push(1);
        if (script.failLists-- > 0) throw new ApiError("ServiceUnavailable", "down");
        return script.state as unknown as List<T>;
      },
      async *watch<T extends Resource>(
        _kind: unknown,
        options: { resourceVersion: string; signal?: AbortSignal },
      ): AsyncGenerator<WatchEvent<T>> {
        script.watchedFrom.push(options.resourceVersion);
        const queue: (WatchEvent<Lease> | Error | "end")[] = [];
        let wake = () => {};
        script.push = (event) => {
          queue.push(event);
          wake();
        };
        options.signal?.addEventListener("abort", () => wake());
        while (!options.signal?.aborted) {
          const next = queue.shift();
          if (next === "end") return;
          if (next instanceof Error) throw next;
          if (next) yield next as unknown as WatchEvent<T>;
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      },
      get: refuse,
      create: refuse,
      update: refuse,
      updateStatus: refuse,
      patch: refuse,
      delete: refuse,
    };
  }
}

async function start(script: Script) {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const informer = new Informer(script.client, Lease, { clock });
  const changes: string[] = [];
  informer.onChange((key, now, old) =>
    changes.push(`${key} ${old?.spec.holder ?? "-"}>${now?.spec.holder ?? "-"}`),
  );
  const byHolder = new Index(informer, (l) => [l.spec.holder]);
  const ended = informer.run(stop.signal);
  await settle();
  return { clock, stop, informer, changes, ended, byHolder };
}

describe("Informer", () => {
  it("lists, then follows the watch", async () => {
    const script = new Script();
    script.state = { items: [lease("a", 3)], skipped: [], resourceVersion: "5" };
    const { stop, informer, changes, ended, byHolder } = await start(script);
    await informer.synced;
    expect(script.watchedFrom).toEqual(["5"]);
    script.push({ type: "ADDED", object: lease("b", 6) });
    script.push({ type: "MODIFIED", object: lease("a", 7, "y") });
    script.push({ type: "DELETED", object: lease("b", 8) });
    await settle();
    expect(changes).toEqual(["a ->x", "b ->x", "a x>y", "b x>-"]);
    expect(informer.list().map((l) => l.metadata.name)).toEqual(["a"]);
    expect(byHolder.get("y").map((l) => l.metadata.name)).toEqual(["a"]);
    expect(byHolder.get("x")).toEqual([]);
    stop.abort();
    await ended;
  });

  it("watches again from where it came to when a watch ends, bookmarks included", async () => {
    const script = new Script();
    const { clock, stop, ended } = await start(script);
    script.push({ type: "ADDED", object: lease("a", 6) });
    script.push("end");
    await clock.step(100);
    script.push({ type: "BOOKMARK", resourceVersion: "9" });
    script.push("end");
    await clock.step(100);
    expect(script.watchedFrom).toEqual(["1", "6", "9"]);
    expect(script.lists).toHaveLength(1);
    stop.abort();
    await ended;
  });

  it("lists again when the history is gone, and tells the differences", async () => {
    const script = new Script();
    script.state = {
      items: [lease("a", 3), lease("b", 4), lease("c", 5)],
      skipped: [],
      resourceVersion: "5",
    };
    const { clock, stop, changes, ended } = await start(script);
    changes.length = 0;
    script.state = { items: [lease("a", 3), lease("b", 40, "z")], skipped: [], resourceVersion: "50" };
    script.push(new ApiError("Expired", "compacted"));
    await clock.step(1000);
    expect(changes).toEqual(["b x>z", "c x>-"]);
    expect(script.watchedFrom).toEqual(["5", "50"]);
    stop.abort();
    await ended;
  });

  it("goes on trying with back-off while the server is away, and survives a reader that throws", async () => {
    const script = new Script();
    script.failLists = 5;
    script.state = { items: [lease("a", 3)], skipped: [], resourceVersion: "5" };
    const { clock, stop, informer, changes, ended } = await start(script);
    informer.onChange(() => {
      throw new Error("odd reader");
    });
    expect(script.lists).toHaveLength(1);
    await clock.step(60_000);
    expect(script.lists).toHaveLength(6);
    expect(changes).toEqual(["a ->x"]);
    expect(informer.get("a")).toBeDefined();
    stop.abort();
    await ended;
  });
});
