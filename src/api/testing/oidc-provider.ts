/**
 * A real OpenID Connect provider (the npm package oidc-provider) as a process of its own, over TLS: what oidc.ts starts. Its one
 * argument is ProviderConfig as JSON. It prints "ready" when it listens. Users log in by name, without a password check.
 */
import { createServer } from "node:https";
import Provider, { type JWKS } from "oidc-provider";

export interface ProviderConfig {
  issuer: string;
  port: number;
  cert: string;
  key: string;
  jwks: JWKS;
  /** id -> algorithm of its ID tokens. */
  clients: Record<string, "RS256" | "ES256">;
}

const config: ProviderConfig = JSON.parse(process.argv[2] ?? "");
const provider = new Provider(config.issuer, {
  jwks: config.jwks,
  clients: Object.entries(config.clients).map(([client_id, id_token_signed_response_alg]) => ({
    client_id,
    client_secret: "secret",
    grant_types: ["password"],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg,
  })),
  features: { devInteractions: { enabled: false } },
});
// The resource owner's password credentials grant (RFC 6749, 4.3). `claims`: JSON of more claims; `ttl`: seconds, may be negative.
provider.registerGrantType(
  "password",
  async (ctx) => {
    const { username, claims, ttl } = ctx.oidc.params ?? {};
    const sub = String(username);
    const { client } = ctx.oidc;
    if (!client) throw new Error("no client");
    const token = new provider.IdToken({ sub }, { ctx, client });
    // Not in the types: without it there is not even a sub.
    Object.assign(token, { scope: "openid" });
    for (const [name, value] of Object.entries(JSON.parse(String(claims ?? "{}")))) token.set(name, value);
    const expiresAt = Math.floor(Date.now() / 1000) + Number(ttl ?? 600);
    ctx.body = { id_token: await token.issue({ use: "idtoken", expiresAt }), token_type: "Bearer" };
  },
  ["username", "password", "claims", "ttl"],
);
createServer({ cert: config.cert, key: config.key }, provider.callback()).listen(
  config.port,
  "127.0.0.1",
  () => process.stdout.write("ready\n"),
);
