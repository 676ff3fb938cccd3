/**
 * The keys of an installation, in one folder of mode 0700:
 *
 *   ca.crt ca.key            the CA: signs everything below; whoever has ca.key is the administrator
 *   server.crt server.key    of the API server; made anew when its names change or two thirds of its life are over
 *   tokens.json              hashes of bearer and bootstrap tokens
 *   secrets.key              what Secrets are sealed with in the store: {current, keys: {ID: base64}}; keys are added, never changed
 *
 * Who somebody is stands in the certificate: CN is the user, each O a group. Hosts are CN=system:host:NAME, O=system:hosts, and OU=N: the store's
 * revision when they enrolled (taken-out.ts). For the streams between
 * hosts each has another one, CN=system:host:NAME, O=system:migrations, which QEMU processes are lent and by which nobody logs in.
 */
import { createPrivateKey, hkdfSync, randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { hostDnsName, hostUser, MIGRATIONS, migrationsDnsName } from "../resource/host-name.ts";
import type { SealingKeys } from "../store/sealed.ts";
import { type Credentials, createCa, isCurrent, issue, signRequest } from "./certificates.ts";
import { writeSecret } from "./secret-file.ts";
import { Tokens } from "./tokens.ts";

export { createSigningRequest } from "./certificates.ts";

export const ADMINS = "system:masters";
export const HOSTS = "system:hosts";
/** 52, because X.509 limits a common name, here system:host:NAME, to 64 characters. */
const HOST_NAME = /^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$/;

function checkHostName(name: string): void {
  if (!HOST_NAME.test(name))
    throw new ApiError(
      "BadRequest",
      `name: ${JSON.stringify(name)} is not a host name; use lower case letters, digits and dashes, at most 52`,
    );
}

function readPair(directory: string, name: string): Credentials | undefined {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  if (!existsSync(cert) || !existsSync(key)) return undefined;
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}

function writePair(directory: string, name: string, pair: Credentials): Credentials {
  // The key first: a certificate without its key would look like a whole pair that does not work.
  writeSecret(join(directory, `${name}.key`), pair.key);
  writeSecret(join(directory, `${name}.crt`), pair.cert);
  return pair;
}

export class Pki {
  readonly tokens: Tokens;
  readonly #directory: string;
  readonly #ca: Credentials;
  readonly #days: number;

  private constructor(directory: string, ca: Credentials, days: number) {
    this.#directory = directory;
    this.#days = days;
    this.#ca = ca;
    this.tokens = new Tokens(join(directory, "tokens.json"));
  }

  /** Opens the folder; makes it and the CA when there is none. `days`: life of the certificates of servers and hosts. */
  static async open(directory: string, { days = 365 }: { days?: number } = {}): Promise<Pki> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    const ca =
      readPair(directory, "ca") ??
      writePair(directory, "ca", await createCa(`vireo ${new Date().toISOString()}`));
    return new Pki(directory, ca, days);
  }

  /** What a backup needs of the folder, by file name: the certificate of this server is made anew where it is restored. */
  files(): Record<string, string> {
    const names = ["ca.crt", "ca.key", "tokens.json", "secrets.key"].filter((name) =>
      existsSync(join(this.#directory, name)),
    );
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(this.#directory, name), "utf8")]));
  }

  /** The CA's certificate, PEM. */
  get ca(): string {
    return this.#ca.cert;
  }

  /** 32 secret bytes for a purpose, the same on all that have the CA's key: HKDF (RFC 5869) of it. */
  derived(purpose: string): Buffer {
    const key = createPrivateKey(this.#ca.key).export({ type: "pkcs8", format: "der" });
    return Buffer.from(hkdfSync("sha256", key, "", `vireo ${purpose}`, 32));
  }

  /** The keys of Secrets; the first is made when there is none. @throws Error naming the file when it is not such a file */
  sealingKeys(): SealingKeys {
    const path = join(this.#directory, "secrets.key");
    if (!existsSync(path)) {
      const key = randomBytes(32).toString("base64");
      writeSecret(path, JSON.stringify({ current: "k1", keys: { k1: key } }, undefined, 1));
    }
    const wrong = (options?: ErrorOptions) =>
      new Error(`${path}: is not a file of sealing keys; bring it back from a backup`, options);
    let value: unknown;
    try {
      value = JSON.parse(readFileSync(path, "utf8"));
    } catch (cause) {
      throw wrong({ cause });
    }
    if (!isFields(value)) throw wrong();
    const { current, keys } = value;
    if (typeof current !== "string" || !isFields(keys)) throw wrong();
    const all = Object.fromEntries(
      Object.entries(keys).map(([id, key]) => [id, Buffer.from(String(key), "base64")]),
    );
    if (!all[current] || Object.values(all).some((key) => key.length !== 32)) throw wrong();
    return { current, keys: all };
  }

  /** Certificate of the API server for these DNS names and addresses; localhost and its addresses are always among them. */
  async serverCredentials(names: readonly string[]): Promise<Credentials> {
    const all = [...new Set(["localhost", "127.0.0.1", "::1", ...names])];
    const kept = readPair(this.#directory, "server");
    if (kept && isCurrent(kept, this.#ca.cert, all)) return kept;
    return writePair(
      this.#directory,
      "server",
      await issue(this.#ca, {
        subject: { commonName: "vireo-apiserver" },
        names: all,
        usage: ["server"],
        days: this.#days,
      }),
    );
  }

  /** A certificate by which `name` logs in; not kept here. */
  async clientCredentials(name: string, groups: readonly string[], days = 365): Promise<Credentials> {
    return issue(this.#ca, {
      subject: { commonName: name, organizations: groups },
      names: [],
      usage: ["client"],
      days,
    });
  }

  /**
   * The certificate of a host: it logs its agent in, and answers control planes (so it is a server's, too).
   * @param revision the store's when the host enrolled; 0: not told
   * @throws ApiError BadRequest for a wrong name, address or request
   */
  async signHost(name: string, csr: string, addresses: readonly string[], revision = 0): Promise<string> {
    checkHostName(name);
    for (const address of addresses)
      if (!isIP(address))
        throw new ApiError("BadRequest", `addresses: ${JSON.stringify(address)} is not an IP address`);
    return signRequest(this.#ca, csr, {
      subject: {
        commonName: hostUser(name),
        organizations: [HOSTS],
        ...(revision > 0 ? { unit: String(revision) } : {}),
      },
      names: [hostDnsName(name), ...addresses],
      usage: ["client", "server"],
      days: this.#days,
    });
  }

  /**
   * The certificate of a host for the streams between hosts, at both ends. It has no address: another server's may be the same.
   * @throws ApiError BadRequest for a wrong name or request
   */
  async signMigrations(name: string, csr: string): Promise<string> {
    checkHostName(name);
    return signRequest(this.#ca, csr, {
      subject: { commonName: hostUser(name), organizations: [MIGRATIONS] },
      names: [migrationsDnsName(name)],
      usage: ["client", "server"],
      days: this.#days,
    });
  }
}
