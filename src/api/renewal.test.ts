/** Certificates that run out soon, against a real API server: they are renewed in time, and nobody has to start anything again. */
import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type EnrolOptions, enrol, keepCertificate } from "../agent/enrol.ts";
import { HttpClient } from "../client/http.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { systemClock } from "../reconcile/clock.ts";
import { silentLogger } from "../reconcile/log.ts";
import { watchFlushes } from "../system/testing/flushes.ts";
import { createSigningRequest } from "./certificates.ts";
import { writeEnrolment } from "./kubeconfig.ts";
import { Pki } from "./pki.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

/** Valid from an hour before to ten minutes after: two thirds of its life are over. */
const TEN_MINUTES = 10 / (24 * 60);

let stack: ApiStack;
let folder: string;
let enrolment: EnrolOptions;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-renewal-"));
  const pki = await Pki.open(join(folder, "pki"), { days: TEN_MINUTES });
  stack = await startApiStack({ pki, renewalCheckMs: 20 });
  enrolment = {
    url: [stack.server.url],
    name: "h1",
    address: "10.0.0.1",
    enrolmentFile: join(folder, "enrolment.json"),
    stateFolder: join(folder, "host"),
    log: silentLogger,
  };
  writeEnrolment(pki, enrolment.enrolmentFile, { url: stack.server.url, ttlMs: 60_000 });
});
afterEach(async () => {
  await stack[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** The certificate that a new connection is shown. */
function shown(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port: stack.server.port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    }).on("error", reject);
  });
}
const fromNow = (pem: string) => new X509Certificate(pem).validToDate.getTime() - Date.now();

describe("certificates that run out soon", () => {
  it("of the API server: new connections are shown a new one while it runs", async () => {
    const before = await shown();
    await vi.waitFor(async () => expect(await shown()).not.toBe(before), 15_000);
  });

  it("of a host: renewed by the present one, without a token, and used by its client", async () => {
    const { ca, cert, key } = await enrol(enrolment);
    rmSync(enrolment.enrolmentFile);
    const client = new HttpClient({ url: stack.server.url, ca, cert, key });
    const stop = new AbortController();
    let renewed = "";
    const running = keepCertificate({
      ...enrolment,
      clock: systemClock,
      signal: stop.signal,
      checkMs: 20,
      onRenewed: (credentials) => {
        renewed = credentials.cert;
        client.setCertificate(credentials);
        stop.abort();
      },
    });
    await running;
    expect(renewed).not.toBe(cert);
    expect(readFileSync(join(folder, "host/tls/client-cert.pem"), "utf8")).toBe(renewed);
    const review = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "SelfSubjectReview",
      metadata: {},
      spec: {},
    };
    const answer = await client.raw("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review);
    expect(JSON.stringify(answer)).toContain("system:host:h1");
    client.close();
  });

  it("of a host at the start of its agent; one that ran out needs the enrolment file", async () => {
    const { cert } = await enrol(enrolment);
    expect((await enrol(enrolment)).cert).not.toBe(cert);
    const expired = await Pki.open(join(folder, "pki"), { days: -1 / (24 * 3600) });
    const { csr } = await createSigningRequest("h1");
    writeFileSync(
      join(folder, "host/tls/client-cert.pem"),
      await expired.signHost("h1", csr, [enrolment.address]),
    );
    expect(fromNow((await enrol(enrolment)).cert)).toBeGreaterThan(0);
    writeFileSync(
      join(folder, "host/tls/client-cert.pem"),
      await expired.signHost("h1", csr, [enrolment.address]),
    );
    rmSync(enrolment.enrolmentFile);
    await expect(enrol(enrolment)).rejects.toThrow(/ran out .* make one with `vireo enrol FILE`/);
  });

  it("of a host that has a new address: it is in the next one", async () => {
    await using long = await startApiStack();
    const mine = { ...enrolment, url: [long.server.url] };
    writeEnrolment(long.pki, mine.enrolmentFile, { url: long.server.url, ttlMs: 60_000 });
    const first = await enrol(mine);
    expect((await enrol(mine)).cert).toBe(first.cert);
    const { cert } = await enrol({ ...mine, address: "10.0.0.9" });
    expect(new X509Certificate(cert).checkIP("10.0.0.9")).toBe("10.0.0.9");
  });

  it("of a host: no power cut leaves it without the key of its certificate, which nobody else may read", async () => {
    const tls = join(folder, "host/tls");
    const flushes = await watchFlushes(() => (existsSync(tls) ? readdirSync(tls) : []));
    await enrol(enrolment);
    const flushed = flushes.filter(({ path }) => path === tls).map(({ seen }) => seen.toSorted());
    expect(flushed.slice(0, 3)).toEqual([
      ["ca-cert.pem"],
      ["ca-cert.pem", "client-key.pem"],
      ["ca-cert.pem", "client-cert.pem", "client-key.pem"],
    ]);
    expect(statSync(join(tls, "client-key.pem")).mode & 0o777).toBe(0o600);
  });

  it("of a host, while no control plane answers: the present one is used on", async () => {
    const { cert } = await enrol(enrolment);
    expect((await enrol({ ...enrolment, url: ["https://127.0.0.1:1"] })).cert).toBe(cert);
  });
});

describe("the certificate of the streams between hosts, which QEMUs are lent", () => {
  const lent = (file: string) => readFileSync(join(folder, "host/tls/migrations", file), "utf8");

  it("has a key of its own, names the host for that alone, and logs nobody in", async () => {
    const own = await enrol(enrolment);
    const [cert, key] = [lent("client-cert.pem"), lent("client-key.pem")];
    for (const file of ["cert.pem", "key.pem"]) expect(lent(`server-${file}`)).toBe(lent(`client-${file}`));
    expect(lent("ca-cert.pem")).toBe(own.ca);
    expect(key).not.toBe(own.key);
    const { subject, subjectAltName } = new X509Certificate(cert);
    expect(subject).toBe("CN=system:host:h1\nO=system:migrations");
    expect(subjectAltName).toBe("DNS:h1.migrations.vireo");
    await using api = await startApiStack({ pki: stack.pki });
    const client = new HttpClient({ url: api.server.url, ca: own.ca, cert, key });
    const { csr } = await createSigningRequest("h1");
    const enrolAgain = { name: "h1", csr, addresses: [] };
    for (const asked of [
      client.list(Host),
      client.raw("GET", "/openapi/v3"),
      client.raw("POST", "/enroll", enrolAgain),
      client.raw("POST", "/enroll", { ...enrolAgain, use: "migrations" }),
    ])
      await expect(asked).rejects.toMatchObject({ reason: "Unauthorized" });
    client.close();
  });

  it("is fetched at the start of an agent that a version before enrolled, or as soon as a control plane gives it", async () => {
    const { pki } = stack;
    const give = pki.signMigrations.bind(pki);
    // As a control plane of before answers: with a login.
    pki.signMigrations = (name, csr) => pki.signHost(name, csr, []);
    await enrol(enrolment);
    expect(existsSync(join(folder, "host/tls/migrations"))).toBe(false);
    rmSync(enrolment.enrolmentFile);
    pki.signMigrations = give;
    await enrol(enrolment);
    expect(lent("client-cert.pem")).toContain("BEGIN CERTIFICATE");
    rmSync(join(folder, "host/tls/migrations"), { recursive: true });
    const stop = new AbortController();
    const clock = systemClock;
    const kept = keepCertificate({
      ...enrolment,
      clock,
      signal: stop.signal,
      checkMs: 20,
      onRenewed: () => {},
    });
    await vi.waitFor(() => expect(lent("client-cert.pem")).toContain("BEGIN CERTIFICATE"), 15_000);
    stop.abort();
    await kept;
  });

  it("is renewed when two thirds of its life are over; its key stays", async () => {
    await enrol(enrolment);
    const [cert, key] = [lent("server-cert.pem"), lent("server-key.pem")];
    await enrol(enrolment);
    expect(lent("server-cert.pem")).not.toBe(cert);
    expect(lent("server-key.pem")).toBe(key);
  });
});
