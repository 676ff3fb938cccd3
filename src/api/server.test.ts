/** The server through HttpClient, over real TLS: who may do what, and that nothing is lost on the way. */
import { once } from "node:events";
import { createServer } from "node:https";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modify, type WatchEvent } from "../client/client.ts";
import { HttpClient } from "../client/http.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { Event, Lease } from "../reconcile/kinds.ts";
import { ApiError } from "../resource/errors.ts";
import { hostUser } from "../resource/host-name.ts";
import { createSigningRequest } from "./certificates.ts";
import { Pki } from "./pki.ts";
import { Secret } from "./secrets.ts";
import { failure } from "./testing/machines.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const newVm = (name: string) => ({
  metadata: { name, namespace: "default" },
  spec: { memory: "64Mi", image: "shop" },
});
const newInstance = (name: string, host?: string) => ({
  metadata: { name, namespace: "default", finalizers: ["vireo.dev/instance"] },
  spec: {
    vm: "a",
    vmUid: "u",
    cpus: 1,
    memory: "64Mi",
    image: "shop",
    storagePool: "default",
    interfaces: [],
    running: true,
    ...(host ? { host } : {}),
  },
});

async function reasonOf(action: Promise<unknown>): Promise<string> {
  return action.then(
    () => "done",
    (error: unknown) => (error instanceof ApiError ? error.reason : String(error)),
  );
}

describe("the API server", () => {
  let stack: ApiStack;
  let admin: HttpClient;
  beforeAll(async () => {
    stack = await startApiStack({ health: async () => [{ name: "store", ok: true }] });
    admin = stack.admin();
  });
  afterAll(async () => {
    expect(stack.errors).toEqual([]);
    await stack[Symbol.asyncDispose]();
  });

  it("creates, reads, changes and deletes through HttpClient", async () => {
    const made = await admin.create(VirtualMachine, newVm("crud"));
    expect(made.spec).toMatchObject({ cpus: 1, running: true, networks: ["default"] });
    expect(await admin.get(VirtualMachine, { name: "none", namespace: "default" })).toBeUndefined();
    const changed = await admin.patch(VirtualMachine, made.metadata, { spec: { cpus: 2 } });
    expect([changed.spec.cpus, changed.metadata.generation]).toEqual([2, 2]);
    expect(await reasonOf(admin.update(VirtualMachine, made))).toBe("Conflict");
    const status = await admin.updateStatus(VirtualMachine, { ...changed, status: { phase: "Running" } });
    expect(status.status?.phase).toBe("Running");
    await modify(admin, VirtualMachine, made.metadata, "object", (vm) => ({
      ...vm,
      spec: { ...vm.spec, cpus: 3 },
    }));
    const [found] = (await admin.list(VirtualMachine, { fieldSelector: "status.phase=Running" })).items;
    expect(found?.spec.cpus).toBe(3);
    expect(await reasonOf(admin.delete(VirtualMachine, made.metadata, { uid: "another" }))).toBe("Conflict");
    await admin.delete(VirtualMachine, made.metadata);
    await admin.delete(VirtualMachine, made.metadata);
    expect(await admin.get(VirtualMachine, made.metadata)).toBeUndefined();
  });

  it("tells the client what was wrong, field by field", async () => {
    const wrong = admin.create(VirtualMachine, {
      ...newVm("wrong"),
      spec: { memory: "64Mi", image: "shop", cpus: 0 },
    });
    const error = await wrong.catch((caught: unknown) => caught);
    expect(error).toMatchObject({ reason: "Invalid", details: { causes: [{ field: "spec.cpus" }] } });
    expect(await reasonOf(admin.list({ ...VirtualMachine, plural: "nothings" }))).toBe("NotFound");
    // An unknown page is an error, a missing object is not.
    expect(
      await reasonOf(
        admin.get({ ...VirtualMachine, plural: "nothings" }, { name: "x", namespace: "default" }),
      ),
    ).toBe("NotFound");
  });

  it("watches without gaps, ends on abort, says Expired", async () => {
    const { resourceVersion } = await admin.list(VirtualMachine);
    const abort = new AbortController();
    const events: WatchEvent<VirtualMachine>[] = [];
    const watching = (async () => {
      for await (const event of admin.watch(VirtualMachine, { resourceVersion, signal: abort.signal })) {
        events.push(event);
        if (event.type === "DELETED") abort.abort();
      }
    })();
    const vm = await admin.create(VirtualMachine, newVm("watched"));
    for (let cpus = 2; cpus < 40; cpus++) await admin.patch(VirtualMachine, vm.metadata, { spec: { cpus } });
    await admin.delete(VirtualMachine, vm.metadata);
    await watching;
    const seen = events.flatMap((event) =>
      event.type === "BOOKMARK" ? [] : [`${event.type} ${event.object.spec.cpus}`],
    );
    expect(seen).toEqual([
      "ADDED 1",
      ...Array.from({ length: 38 }, (_, i) => `MODIFIED ${i + 2}`),
      "DELETED 39",
    ]);
  });

  it("a slow watcher gets everything, in order", async () => {
    const { resourceVersion } = await admin.list(Event);
    const count = 300;
    const message = "x".repeat(20_000);
    const abort = new AbortController();
    const iterator = admin.watch(Event, { resourceVersion, signal: abort.signal })[Symbol.asyncIterator]();
    const first = iterator.next();
    for (let i = 0; i < count; i++)
      await admin.create(Event, {
        metadata: { name: `slow-${i}`, namespace: "default" },
        spec: {
          about: { kind: "Host", name: "h" },
          type: "Normal",
          reason: "Test",
          message,
          reporter: "test",
          firstTime: "",
          lastTime: "",
          count: 1,
        },
      });
    // Only now does it read on: 6 MB are waiting.
    const names: string[] = [];
    for (let next = await first; !next.done && names.length < count; next = await iterator.next()) {
      if (next.value.type !== "BOOKMARK") names.push(next.value.object.metadata.name);
      if (names.length === count) break;
    }
    abort.abort();
    expect(names).toEqual(Array.from({ length: count }, (_, i) => `slow-${i}`));
  });

  it("an aborted request and an unreachable server are told apart", async () => {
    const abort = AbortSignal.abort(new Error("enough"));
    await expect(admin.list(Host, { signal: abort })).rejects.toThrow("enough");
    const nobody = new HttpClient({ url: "https://127.0.0.1:9", ca: stack.pki.ca, token: "x" });
    const error = await nobody.list(Host).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ reason: "ServiceUnavailable", cause: { code: "ECONNREFUSED" } });
    const other = await Pki.open(`${stack.folder}/other`);
    const deceived = new HttpClient({ url: stack.server.url, ca: other.ca, token: "x" });
    expect(await reasonOf(deceived.list(Host))).toBe("ServiceUnavailable");
  });

  it("asks again what was refused for now, for as long as a request may take", async () => {
    const busy = { kind: "Status", reason: "ServiceUnavailable", message: "later", details: {} };
    const answers: [number, object][] = [
      [503, { ...busy, details: { retryAfterSeconds: 0.05 } }],
      [429, { ...busy, reason: "TooManyRequests", details: { retryAfterSeconds: 0.05 } }],
      [200, { items: [], metadata: {} }],
    ];
    let asked = 0;
    const server = createServer(await stack.pki.serverCredentials(["127.0.0.1"]), (_, response) => {
      const [code, body] = answers[Math.min(asked++, answers.length - 1)] ?? [500, {}];
      response.writeHead(code).end(JSON.stringify(body));
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const address = server.address();
    const url = `https://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
    const client = new HttpClient({ url, ca: stack.pki.ca, token: "x", timeoutMs: 2000 });
    try {
      expect((await client.list(Host)).items).toEqual([]);
      expect(asked).toBe(3);
      answers.splice(0, 3, [503, { ...busy, details: { retryAfterSeconds: 0.5 } }]);
      expect(await reasonOf(client.list(Host))).toBe("ServiceUnavailable");
      expect(asked).toBeGreaterThan(4);
      answers[0] = [503, busy];
      asked = 0;
      expect(await reasonOf(client.list(Host))).toBe("ServiceUnavailable");
      expect(asked).toBe(1);
    } finally {
      client.close();
      server.close();
    }
  });

  it("lets nobody in without good credentials", async () => {
    const { server, pki } = stack;
    expect(await reasonOf(stack.client({}).list(Host))).toBe("Unauthorized");
    expect(await reasonOf(stack.client({ token: "wrong" }).list(Host))).toBe("Unauthorized");
    const other = await Pki.open(`${stack.folder}/other`);
    const forged = await other.clientCredentials("admin", ["system:masters"]);
    expect(await reasonOf(stack.client(forged).list(Host))).toBe("Unauthorized");
    // A server's certificate is no client's.
    const serverCertificate = await pki.serverCredentials([]);
    expect(await reasonOf(stack.client(serverCertificate).list(Host))).toBe("Unauthorized");
    const nobody = stack.client(await pki.clientCredentials("somebody", ["others"]));
    expect(await reasonOf(nobody.list(Host))).toBe("Forbidden");
    expect(await reasonOf(nobody.create(Host, { metadata: { name: "x" }, spec: {} }))).toBe("Forbidden");
    // Again over a resumed TLS session.
    for (let i = 0; i < 3; i++) {
      const again = new HttpClient({ url: server.url, ca: pki.ca, ...forged });
      expect(await reasonOf(again.list(Host))).toBe("Unauthorized");
      again.close();
    }
    for (const path of ["/version", "/healthz", "/livez", "/readyz?verbose"])
      expect((await raw(stack, "GET", path)).code).toBe(200);
    for (const path of ["/", "/api", "/apis", "/openapi/v2", "/openapi/v3", "/apis/vireo.dev/v1/hosts"])
      expect([path, (await raw(stack, "GET", path)).code]).toEqual([path, 401]);
  });

  it("a host reads all and writes only what is its own", async () => {
    const agent = await stack.host("h1");
    const own = await agent.create(Host, { metadata: { name: "h1" }, spec: { rack: "r1" } });
    expect(own.spec).toEqual({});
    expect(await reasonOf(agent.updateStatus(Host, { ...own, status: { address: "10.0.0.1" } }))).toBe(
      "done",
    );
    await admin.create(Host, { metadata: { name: "h2" }, spec: {} });
    expect((await agent.list(Host)).items.length).toBe(2);
    // What guests are told is for their own host alone.
    for (const [name, host] of [
      ["whole", "h1"],
      ["part", "h2"],
    ] as const) {
      const told = newInstance(name, host);
      await admin.create(Instance, { ...told, spec: { ...told.spec, guest: { userData: "password: x" } } });
    }
    const seen = (await agent.list(Instance)).items;
    expect(seen.map(({ metadata, spec }) => [metadata.name, spec.guest])).toEqual([
      ["part", undefined],
      ["whole", { userData: "password: x" }],
    ]);
    expect((await agent.get(Instance, { name: "part", namespace: "default" }))?.spec.guest).toBeUndefined();
    for await (const event of agent.watch(Instance, {
      resourceVersion: "0",
      fieldSelector: "metadata.name=part",
    })) {
      expect(event).toMatchObject({ type: "ADDED", object: { metadata: { name: "part" } } });
      expect(JSON.stringify(event)).not.toContain("password");
      break;
    }
    const lease = { durationSeconds: 10, holder: "h1", renewTime: "2026-01-01T00:00:00.000Z" };
    expect(await reasonOf(agent.create(Lease, { metadata: { name: "host-h1" }, spec: lease }))).toBe("done");

    const mine = await admin.create(Instance, newInstance("mine", "h1"));
    const theirs = await admin.create(Instance, newInstance("theirs", "h2"));
    const unbound = await admin.create(Instance, newInstance("unbound"));
    expect(await reasonOf(agent.updateStatus(Instance, { ...mine, status: { phase: "Running" } }))).toBe(
      "done",
    );
    expect(
      await reasonOf(agent.patch(Instance, mine.metadata, { status: { pid: 7 } }, { subresource: "status" })),
    ).toBe("done");
    // A PUT carries the whole object; only the finalizers of it count.
    const current = await agent.get(Instance, mine.metadata);
    if (!current) throw new Error("no instance");
    const put = await agent.update(Instance, {
      ...current,
      metadata: { ...current.metadata, finalizers: ["vireo.dev/instance", "vireo.dev/more"] },
      spec: { ...current.spec, running: false },
    });
    expect(put.metadata.finalizers).toEqual(["vireo.dev/instance", "vireo.dev/more"]);
    expect(put.spec.running).toBe(true);
    expect(put.status).toMatchObject({ phase: "Running", pid: 7 });
    expect(await reasonOf(agent.update(Instance, current))).toBe("Conflict");
    expect(await reasonOf(agent.patch(Instance, mine.metadata, { metadata: { finalizers: null } }))).toBe(
      "done",
    );

    for (const refused of [
      agent.list(VirtualMachine),
      agent.list(Secret),
      agent.create(Host, { metadata: { name: "h3" }, spec: {} }),
      agent.patch(Host, { name: "h2" }, { spec: { unschedulable: true } }),
      // Whom its BMC's password is sent to is not for the host to say.
      agent.patch(Host, { name: "h1" }, { spec: { unschedulable: true } }),
      agent.patch(Host, { name: "h2" }, { status: {} }, { subresource: "status" }),
      agent.delete(Host, { name: "h1" }),
      agent.create(Lease, { metadata: { name: "host-h2" }, spec: lease }),
      agent.create(Lease, { metadata: { name: "control-plane" }, spec: lease }),
      agent.create(VirtualMachine, newVm("evil")),
      agent.create(Instance, newInstance("evil", "h1")),
      agent.delete(Instance, mine.metadata),
      agent.updateStatus(Instance, { ...theirs, status: { custody: "Released" } }),
      agent.updateStatus(Instance, { ...unbound, status: { custody: "Released" } }),
      agent.patch(Instance, theirs.metadata, { metadata: { finalizers: null } }),
      agent.patch(Instance, mine.metadata, { spec: { running: false } }),
      agent.patch(Instance, mine.metadata, { metadata: { finalizers: null, labels: { a: "b" } } }),
    ])
      expect(await reasonOf(refused)).toBe("Forbidden");
    const client = await stack.pki.clientCredentials(hostUser("h9"), []);
    // The name alone is not enough: the group must be there, too.
    expect(await reasonOf(stack.client(client).list(Host))).toBe("Forbidden");
  });

  it("enrols a host by a bootstrap token, and renews by its certificate", async () => {
    const { pki } = stack;
    const stranger = stack.client({});
    const { csr, key } = await createSigningRequest("ignored");
    const body = { name: "h7", csr, addresses: ["10.0.0.7"] };
    expect(await reasonOf(stranger.raw("POST", "/enroll", body))).toBe("Unauthorized");
    expect(await reasonOf(stranger.raw("POST", "/enroll", { ...body, token: "wrong" }))).toBe("Unauthorized");
    const expired = pki.tokens.addBootstrap({ ttlMs: -1 });
    expect(await reasonOf(stranger.raw("POST", "/enroll", { ...body, token: expired }))).toBe("Unauthorized");
    const bound = pki.tokens.addBootstrap({ ttlMs: 60_000, host: "h8" });
    expect(await reasonOf(stranger.raw("POST", "/enroll", { ...body, token: bound }))).toBe("Forbidden");
    const token = pki.tokens.addBootstrap({ ttlMs: 60_000 });
    // A bootstrap token is no key to the API, an administrator's token none to enrolment.
    expect(await reasonOf(stack.client({ token }).list(Host))).toBe("Unauthorized");
    for (const [wrong, field] of [
      [{ ...body, token, name: "../x" }, "name"],
      [{ ...body, token, name: "a".repeat(60) }, "name"],
      [{ ...body, token, csr: "x" }, "csr"],
      [{ ...body, token, addresses: ["nowhere"] }, "addresses"],
      [{ ...body, token, addresses: 7 }, "addresses"],
    ] as const) {
      const error = await stranger.raw("POST", "/enroll", wrong).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ reason: "BadRequest", message: expect.stringContaining(`${field}:`) });
    }
    const answer = await stranger.raw("POST", "/enroll", { ...body, token });
    expect(answer).toMatchObject({ ca: pki.ca, certificate: expect.stringContaining("BEGIN CERTIFICATE") });
    const { certificate: cert } = answer as { certificate: string };
    const agent = stack.client({ cert, key });
    expect(await reasonOf(agent.create(Host, { metadata: { name: "h7" }, spec: {} }))).toBe("done");
    expect(await reasonOf(agent.raw("POST", "/enroll", body))).toBe("done");
    expect(await reasonOf(agent.raw("POST", "/enroll", { ...body, name: "h8" }))).toBe("Unauthorized");
    const second = { ...body, csr: (await createSigningRequest("ignored")).csr, use: "migrations" };
    expect(await reasonOf(agent.raw("POST", "/enroll", second))).toBe("done");
    // A token brings a host in; what follows is for the host alone.
    expect(await reasonOf(stranger.raw("POST", "/enroll", { ...second, token }))).toBe("Forbidden");
    expect(await reasonOf(agent.raw("POST", "/enroll", { ...second, name: "h8" }))).toBe("Forbidden");
    expect(await reasonOf(agent.raw("POST", "/enroll", { ...second, use: "all" }))).toBe("BadRequest");
  });

  it("says why it is not ready", async () => {
    await using sick = await startApiStack({
      health: async () => [
        { name: "store", ok: false, message: "the disk is full" },
        { name: "leader", ok: true },
      ],
    });
    const answer = await raw(sick, "GET", "/readyz");
    expect(answer.code).toBe(503);
    expect(answer.text).toContain("[-]store failed: the disk is full");
    expect((await raw(sick, "GET", "/livez")).code).toBe(200);
  });

  it("a host reports only as itself, and changes no report of another one", async () => {
    await using checked = await startApiStack({ checked: ["Event"] });
    const [agent, admin] = [await checked.host("h1"), checked.admin()];
    const time = "2026-01-01T00:00:00.000Z";
    const event = (name: string, host?: string, lastTime = time) => ({
      metadata: { name, namespace: "default" },
      spec: {
        about: { kind: "Host", name: "h2" },
        type: "Normal" as const,
        reason: "Odd",
        message: "",
        reporter: "agent",
        firstTime: time,
        lastTime,
        count: 1,
        ...(host ? { host } : {}),
      },
    });
    const own = await agent.create(Event, event("own", "h1"));
    const again = await agent.update(Event, { ...own, spec: { ...own.spec, count: 2 } });
    expect(again.spec.count).toBe(2);
    const theirs = await admin.create(Event, event("theirs", "h2"));
    const nobodys = await admin.create(Event, event("nobodys"));
    for (const write of [
      agent.create(Event, event("a", "h2")),
      agent.create(Event, event("b")),
      agent.update(Event, { ...again, spec: { ...own.spec, host: "h2" } }),
      agent.update(Event, { ...theirs, spec: { ...theirs.spec, host: "h1" } }),
      agent.update(Event, { ...nobodys, spec: { ...nobodys.spec, host: "h1" } }),
      agent.patch(Event, theirs.metadata, { spec: { host: "h1" } }),
    ])
      expect((await failure(write)).reason).toBe("Forbidden");
    const never = await failure(agent.create(Event, event("never", "h1", "never")));
    expect(never.message).toContain('spec.lastTime: Invalid value: "never": must be a time as in RFC 3339');
  });

  it("compresses long lists and serves YAML", async () => {
    const token = stack.pki.tokens.addUser({ name: "a", groups: ["system:masters"] });
    const path = "/apis/vireo.dev/v1/events";
    const packed = await raw(stack, "GET", path, { token, headers: { "accept-encoding": "gzip" } });
    expect(packed.headers["content-encoding"]).toBe("gzip");
    const yaml = await raw(stack, "GET", "/api/v1/namespaces/default", {
      token,
      headers: { accept: "application/yaml" },
    });
    expect(yaml.text).toContain("kind: Namespace\n");
  });

  it("is closed in good order while watches run", async () => {
    const other = await startApiStack();
    const watching = (async () => {
      for await (const _ of other.admin().watch(Host, { resourceVersion: "0" }));
      return "ended";
    })().catch(() => "ended");
    await other.admin().create(Host, { metadata: { name: "x" }, spec: {} });
    await other[Symbol.asyncDispose]();
    expect(await watching).toBe("ended");
  });
});
