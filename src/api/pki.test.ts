import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { createSigningRequest } from "./certificates.ts";
import { ensureAdminKubeconfig, writeEnrolment } from "./kubeconfig.ts";
import { Pki } from "./pki.ts";

describe("the keys of an installation", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "vireo-pki-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const read = (name: string) => readFileSync(join(folder, name), "utf8");

  it("are kept from one start to the next, and nobody else can read them", async () => {
    const first = await Pki.open(folder);
    const server = await first.serverCredentials(["10.0.0.1"]);
    first.tokens.addUser({ name: "a", groups: [] });
    const again = await Pki.open(folder);
    expect(again.ca).toBe(first.ca);
    expect(await again.serverCredentials(["10.0.0.1"])).toEqual(server);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(folder))
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
  });

  it("make the server's certificate anew when it needs another name, or the CA is another", async () => {
    const pki = await Pki.open(folder);
    const before = await pki.serverCredentials([]);
    const after = await pki.serverCredentials(["vireo.example.com", "10.0.0.2"]);
    expect(after.cert).not.toBe(before.cert);
    const certificate = new X509Certificate(after.cert);
    expect(certificate.checkHost("vireo.example.com")).toBeDefined();
    expect(certificate.checkIP("10.0.0.2")).toBeDefined();
    expect(certificate.verify(new X509Certificate(pki.ca).publicKey)).toBe(true);
    rmSync(join(folder, "ca.crt"));
    const renewed = await Pki.open(folder);
    const third = await renewed.serverCredentials([]);
    expect(new X509Certificate(third.cert).verify(new X509Certificate(renewed.ca).publicKey)).toBe(true);
  });

  it("sign a host for its own name, whatever its request says", async () => {
    const pki = await Pki.open(folder);
    const { csr } = await createSigningRequest("system:masters");
    const certificate = new X509Certificate(await pki.signHost("h1", csr, ["10.0.0.7"]));
    expect(certificate.subject).toBe("CN=system:host:h1\nO=system:hosts");
    expect(certificate.subjectAltName).toBe("DNS:h1.host.vireo, IP Address:10.0.0.7");
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"]);
    expect(certificate.ca).toBe(false);
    await expect(pki.signHost("h1,O=system:masters", csr, [])).rejects.toThrow("not a host name");
    await expect(pki.signHost("h1", csr.replace(/\n[A-Za-z]/, "\nB"), [])).rejects.toThrow("csr:");
  });

  it("hold no token in clear, and take up tokens that another process adds", async () => {
    const pki = await Pki.open(folder);
    const token = pki.tokens.addUser({ name: "admin", groups: ["system:masters"] });
    expect(read("tokens.json")).not.toContain(token);
    expect(pki.tokens.userOf(token)?.name).toBe("admin");
    const other = await Pki.open(folder);
    const added = other.tokens.addUser({ name: "other", groups: [] });
    expect(pki.tokens.userOf(added)?.name).toBe("other");
    expect(pki.tokens.userOf(token)?.name).toBe("admin");
    expect(pki.tokens.userOf("")).toBeUndefined();
  });

  it.each([
    "",
    '{"current":"k1"',
    "null",
    "[]",
    '{"current":"k1","keys":[]}',
    '{"current":"k1","keys":{"k1":"AA"}}',
  ])("refuse a file that is none of sealing keys, by its name: %j", async (text) => {
    const pki = await Pki.open(folder);
    const path = join(folder, "secrets.key");
    writeFileSync(path, text);
    expect(() => pki.sealingKeys()).toThrow(`${path}: is not a file of sealing keys; bring it back`);
  });

  it("write a kubeconfig once, and leave its token while it is good", async () => {
    const pki = await Pki.open(folder);
    const path = join(folder, "kubeconfig");
    ensureAdminKubeconfig(pki, path, "https://127.0.0.1:6443");
    const first = read("kubeconfig");
    ensureAdminKubeconfig(pki, path, "https://127.0.0.1:6443");
    expect(read("kubeconfig")).toBe(first);
    ensureAdminKubeconfig(pki, path, "https://10.0.0.1:6443");
    const config = parse(read("kubeconfig"));
    expect(config["current-context"]).toBe("vireo");
    expect(config.users[0].user.token).toBe(parse(first).users[0].user.token);
    expect(config.clusters[0].cluster.server).toBe("https://10.0.0.1:6443");
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("write what a host needs to enrol", async () => {
    const pki = await Pki.open(folder);
    writeEnrolment(pki, join(folder, "enrolment.json"), { url: "https://h:1", ttlMs: 60_000 });
    const enrolment = JSON.parse(read("enrolment.json"));
    expect(enrolment).toMatchObject({ url: "https://h:1", ca: pki.ca });
    expect(pki.tokens.checkBootstrap(enrolment.token)).toEqual({});
  });
});
