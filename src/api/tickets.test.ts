import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KINDS } from "../kinds.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { Operations } from "./operations.ts";
import { Tickets } from "./tickets.ts";

const USER = { name: "anna", groups: ["devs"] };
const BY = { token: "hash" };
const PATH = "/apis/x";
const refused = { reason: "Unauthorized" };

let folder: string;
let store: Store;
let now: number;
let tickets: Tickets;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-tickets-"));
  store = await openSqliteStore(join(folder, "store.db"));
  now = 1_000_000;
  tickets = new Tickets(store, { now: () => now });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

describe("a ticket", () => {
  it("stands for whom it was given, once, and is not kept itself", async () => {
    const { ticket, expires } = await tickets.issue({ user: USER, by: BY }, PATH, "uid-1");
    expect(expires.getTime()).toBe(now + 30_000);
    const { entries } = await store.range("");
    expect(JSON.stringify(entries)).not.toContain(ticket);
    expect(await tickets.use(ticket, PATH)).toMatchObject({ user: USER, by: BY, uid: "uid-1" });
    await expect(tickets.use(ticket, PATH)).rejects.toMatchObject(refused);
    expect((await store.range("")).entries).toEqual([]);
  });

  it("is good for its path and its time alone", async () => {
    const { ticket } = await tickets.issue({ user: USER, by: BY }, PATH, "uid-1");
    await expect(tickets.use(ticket, "/apis/y")).rejects.toMatchObject(refused);
    await expect(tickets.use("guessed", PATH)).rejects.toMatchObject(refused);
    now += 30_000;
    await expect(tickets.use(ticket, PATH)).rejects.toMatchObject(refused);
  });

  it("of which two ask at once is one's", async () => {
    const other = new Tickets(store, { now: () => now });
    const { ticket } = await tickets.issue({ user: USER, by: BY }, PATH, "uid-1");
    const both = await Promise.allSettled([tickets.use(ticket, PATH), other.use(ticket, PATH)]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("that nobody used goes when the next is asked for; one user has a hundred at most", async () => {
    for (let i = 0; i < 100; i++) await tickets.issue({ user: USER, by: BY }, PATH, "uid-1");
    await expect(tickets.issue({ user: USER, by: BY }, PATH, "uid-1")).rejects.toMatchObject({
      reason: "TooManyRequests",
    });
    await tickets.issue({ user: { name: "ben", groups: [] }, by: BY }, PATH, "uid-1");
    now += 30_000;
    await tickets.issue({ user: USER, by: BY }, PATH, "uid-1");
    expect((await store.range("")).entries).toHaveLength(1);
  });

  it("in the store is no object, and hinders none", async () => {
    await tickets.issue({ user: USER, by: BY }, PATH, "uid-1");
    const operations = await Operations.open(store, KINDS);
    const { ticket } = await tickets.issue({ user: USER, by: BY }, PATH, "uid-1");
    await tickets.use(ticket, PATH);
    expect(operations.invalid).toEqual([]);
    await operations.close();
  });
});
