/** A host that was taken out, at a real API server: its certificates count no more until it enrols again. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type EnrolOptions, enrol, type HostCredentials } from "../agent/enrol.ts";
import { HttpClient } from "../client/http.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { silentLogger } from "../reconcile/log.ts";
import { backupLines, readBackup, restoreEntries } from "../store/backup.ts";
import { overlay } from "../store/overlay.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { OutcomeUnknown, type Store, Unavailable } from "../store/store.ts";
import { createSigningRequest } from "./certificates.ts";
import { writeEnrolment } from "./kubeconfig.ts";
import { TakenOut } from "./taken-out.ts";
import { failure } from "./testing/machines.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

let stack: ApiStack;
let admin: HttpClient;
let enrolment: EnrolOptions;
const clients: HttpClient[] = [];
beforeEach(async () => {
  stack = await startApiStack({ recheckMs: 50 });
  admin = stack.admin();
  enrolment = {
    url: [stack.server.url],
    name: "rack-2",
    address: "10.0.0.2",
    enrolmentFile: join(stack.folder, "enrolment.json"),
    stateFolder: join(stack.folder, "host"),
    log: silentLogger,
  };
  writeEnrolment(stack.pki, enrolment.enrolmentFile, { url: stack.server.url, ttlMs: 60_000 });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
});

function agentWith({ ca, cert, key }: HostCredentials): HttpClient {
  const client = new HttpClient({ url: stack.server.url, ca, cert, key });
  clients.push(client);
  return client;
}
const register = (agent: HttpClient) => agent.create(Host, { metadata: { name: enrolment.name }, spec: {} });
const renew = async (agent: HttpClient) => {
  const { csr } = await createSigningRequest(enrolment.name);
  return agent.raw("POST", "/enroll", { name: enrolment.name, csr, addresses: [] });
};
const TAKEN_OUT = /host rack-2 was taken out .* `vireo enrol FILE`/;

it("is refused by all certificates that it had, and comes in again by a token", async () => {
  const first = await enrol(enrolment);
  const agent = agentWith(first);
  await register(agent);
  const watching = (async () => {
    for await (const _ of agent.watch(Host, { resourceVersion: "0" }));
  })().catch(() => {});
  await admin.delete(Host, { name: "rack-2" });
  for (const ask of [register, renew, (client: HttpClient) => client.list(Host)]) {
    const error = await failure(ask(agent));
    expect(error.reason).toBe("Unauthorized");
    expect(error.message).toMatch(TAKEN_OUT);
    expect(error.details.causes).toMatchObject([{ reason: "HostTakenOut" }]);
  }
  await watching;
  expect((await admin.list(Host)).items).toEqual([]);

  const second = await enrol(enrolment);
  expect(second.key).not.toBe(first.key);
  const again = agentWith(second);
  await register(again);
  // Renewed it is as good as the one before, and no better.
  expect(await renew(again)).toMatchObject({ certificate: expect.stringContaining("BEGIN") });
  expect((await failure(agent.list(Host))).message).toMatch(TAKEN_OUT);
  await admin.delete(Host, { name: "rack-2" });
  expect((await failure(again.list(Host))).message).toMatch(TAKEN_OUT);
});

it("cannot start its agent without another file, and is told so", async () => {
  await register(agentWith(await enrol(enrolment)));
  await admin.delete(Host, { name: "rack-2" });
  rmSync(enrolment.enrolmentFile);
  const started = enrol(enrolment);
  await expect(started).rejects.toThrow(TAKEN_OUT);
  await expect(started).rejects.toThrow(/it cannot be read .* make one with `vireo enrol FILE`/);
});

it("keeps its certificate when it is refused for another reason", async () => {
  const kept = await enrol(enrolment);
  rmSync(enrolment.enrolmentFile);
  // A control plane with another CA, which trusts none of this one's certificates, though the host trusts it.
  await using other = await startApiStack();
  const ca = kept.ca + other.pki.ca;
  writeFileSync(join(enrolment.stateFolder, "tls", "ca-cert.pem"), ca);
  const { cert, key } = kept;
  const refused = other.client({ cert, key });
  const error = await failure(refused.list(Host));
  expect(error.message).toBe("Unauthorized: the client certificate is not valid for this control plane");
  expect(await enrol({ ...enrolment, url: [other.server.url] })).toEqual({ ...kept, ca });
});

it("stays in when its deletion is refused, or only tried", async () => {
  const agent = agentWith(await enrol(enrolment));
  await register(agent);
  expect((await failure(admin.delete(Host, { name: "rack-2" }, { uid: "other" }))).reason).toBe("Conflict");
  await admin.request({ method: "DELETE", path: "/apis/vireo.dev/v1/hosts/rack-2?dryRun=All" });
  expect((await agent.list(Host)).items).toHaveLength(1);
});

it("may be out though its Host is there, when the store fails in between: whoever deletes it is told to do so again", async () => {
  const store = await openSqliteStore(join(stack.folder, "failing.sqlite"));
  let commit: Store["commit"] = async () => Promise.reject(new OutcomeUnknown("cut off"));
  const takenOut = await TakenOut.open(overlay(store, { commit: (write) => commit(write) }));
  {
    await using failing = await startApiStack({ takenOut });
    const { metadata } = await register(await failing.host("rack-2"));
    const deleter = failing.admin();
    const deletion = () =>
      failure(deleter.delete(Host, { name: "rack-2" }, { resourceVersion: metadata.resourceVersion }));
    const again = /; host rack-2 may be taken out .* ask for the deletion again$/;
    const unknown = await deletion();
    expect([unknown.reason, unknown.message]).toEqual(["Timeout", expect.stringMatching(again)]);
    // Its deletion is refused, as it was changed meanwhile, and that cannot be taken back.
    commit = async (write) => {
      commit = async () => Promise.reject(new Unavailable("cut off"));
      await deleter.patch(Host, { name: "rack-2" }, { metadata: { labels: { a: "b" } } });
      return store.commit(write);
    };
    const refused = await deletion();
    expect([refused.reason, refused.message]).toEqual(["Conflict", expect.stringMatching(again)]);
  }
  takenOut.close();
  await store.close();
});

it("is known to other control planes on the same store, and after a restart", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-taken-out-"));
  const store = await openSqliteStore(join(folder, "store.sqlite"));
  const [one, other] = [await TakenOut.open(store), await TakenOut.open(store)];
  const host = { name: "a", revision: await one.revision() };
  expect(other.isIn(host)).toBe(true);
  const takeBack = await one.takeOut("a");
  const again = { name: "a", revision: await other.revision() };
  expect([one.isIn(host), other.isIn(host), one.isIn(again), other.isIn(again)]).toEqual([
    false,
    false,
    true,
    true,
  ]);
  expect(one.isIn({ name: "b", revision: 0 })).toBe(true);
  expect((await TakenOut.open(store)).isIn(host)).toBe(false);
  await takeBack();
  expect([one.isIn(host), other.isIn(host)]).toEqual([true, true]);
  await Promise.all([one.takeOut("a"), other.takeOut("a")]);
  expect(one.isIn(again)).toBe(false);
  await store.close();
  rmSync(folder, { recursive: true });
});

it("is out by what it had when its Host is deleted after a backup from before was restored", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-taken-out-"));
  const open = (name: string) => openSqliteStore(join(folder, name));
  const store = await open("first.sqlite");
  let takenOut = await TakenOut.open(store);
  const enrolled = async () => ({ name: "a", revision: await takenOut.revision() });
  const first = await enrolled();
  await takenOut.takeOut("b");
  const inAgain = { name: "b", revision: await takenOut.revision() };
  const lines: string[] = [];
  for await (const line of backupLines(store, { time: "2026-01-01T00:00:00Z", version: "1", files: {} }))
    lines.push(line.trimEnd());
  await takenOut.takeOut("a");
  const second = await enrolled();
  await store.close();

  const empty = await open("restored.sqlite");
  await restoreEntries(empty, await readBackup(Readable.from(lines)));
  await empty.close();
  const restored = await open("restored.sqlite");
  takenOut = await TakenOut.open(restored);
  expect([first, second, inAgain].map((each) => takenOut.isIn(each))).toEqual([true, true, true]);
  expect(takenOut.isIn({ name: "b", revision: first.revision })).toBe(false);
  await takenOut.takeOut("a");
  expect([first, second].map((each) => takenOut.isIn(each))).toEqual([false, false]);
  expect(takenOut.isIn(await enrolled())).toBe(true);
  await restored.close();
  rmSync(folder, { recursive: true });
});
