/** Starts and stops the provider process of oidc-provider.ts, and gets tokens of it as a client would. */
import { type ChildProcess, spawn } from "node:child_process";
import { request } from "node:https";
import { join } from "node:path";
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { freePort } from "../../system/testing/free-port.ts";
import { createCa, issue } from "../certificates.ts";
import type { ProviderConfig } from "./oidc-provider.ts";

export interface LoginRequest {
  username: string;
  client?: string;
  claims?: object;
  /** Seconds; negative: already run out. */
  ttl?: number;
}

export interface TestProvider {
  readonly issuer: string;
  /** PEM of the CA of its certificate. */
  readonly ca: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** The next start() signs with new keys; the old ones are not told any more. */
  newKeys(): Promise<void>;
  /** The public keys that it tells of. */
  publicKeys(): JWK[];
  /** Signs what the provider would not, with its own RS256 key. */
  sign(claims: JWTPayload): Promise<string>;
  token(login: LoginRequest): Promise<string>;
}

async function newJwks(): Promise<JWK[]> {
  const kid = crypto.randomUUID();
  return Promise.all(
    ["RS256", "ES256"].map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      return { ...(await exportJWK(privateKey)), kid: `${kid}-${alg}`, alg, use: "sig" };
    }),
  );
}

/** A provider that is not started yet, with the clients `vireo` (RS256), `vireo-ec` (ES256) and `other`. */
export async function prepareProvider(): Promise<TestProvider> {
  const port = await freePort();
  const issuer = `https://127.0.0.1:${port}`;
  const ca = await createCa("a company");
  const pair = await issue(ca, {
    subject: { commonName: "login" },
    names: ["127.0.0.1"],
    usage: ["server"],
    days: 1,
  });
  let keys = await newJwks();
  let child: ChildProcess | undefined;
  return {
    issuer,
    ca: ca.cert,
    async start() {
      const config: ProviderConfig = {
        issuer,
        port,
        ...pair,
        // The fields of a JWK that the provider needs are those that exportJWK has made.
        jwks: { keys: keys.map((key) => ({ ...key, kty: key.kty ?? "" })) } as ProviderConfig["jwks"],
        clients: { vireo: "RS256", "vireo-ec": "ES256", other: "RS256" },
      };
      const main = join(import.meta.dirname, "oidc-provider.ts");
      const started = spawn(process.execPath, [main, JSON.stringify(config)], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, NODE_OPTIONS: "" },
      });
      child = started;
      let said = "";
      started.stderr.on("data", (part: Buffer) => {
        said += part.toString();
      });
      await new Promise<void>((resolve, reject) => {
        started.stdout.on("data", (part: Buffer) => part.toString().includes("ready") && resolve());
        started.once("exit", () => reject(new Error(`the provider ended: ${said}`)));
      });
    },
    async stop() {
      const running = child;
      child = undefined;
      if (!running || running.exitCode !== null) return;
      const gone = new Promise((resolve) => running.once("exit", resolve));
      running.kill("SIGKILL");
      await gone;
    },
    async newKeys() {
      keys = await newJwks();
    },
    publicKeys: () => keys.map(({ kid, kty, n, e, crv, x, y, alg }) => ({ kid, kty, n, e, crv, x, y, alg })),
    async sign(claims) {
      const { kid, ...key } = keys[0] ?? {};
      return new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid }).sign({ kty: "RSA", ...key });
    },
    token: ({ username, client = "vireo", claims = {}, ttl = 600 }) =>
      new Promise((resolve, reject) => {
        const sent = request(
          `${issuer}/token`,
          {
            method: "POST",
            ca: ca.cert,
            agent: false,
            headers: { "content-type": "application/x-www-form-urlencoded" },
            auth: `${client}:secret`,
          },
          (answer) => {
            let text = "";
            answer.on("data", (part: Buffer) => {
              text += part.toString();
            });
            answer.on("end", () => {
              const token = /"id_token":"([^"]+)"/.exec(text)?.[1];
              if (token) resolve(token);
              else reject(new Error(`no token: ${text}`));
            });
          },
        );
        sent.on("error", reject);
        sent.end(
          new URLSearchParams({
            grant_type: "password",
            username,
            password: "x",
            claims: JSON.stringify(claims),
            ttl: String(ttl),
          }).toString(),
        );
      }),
  };
}
