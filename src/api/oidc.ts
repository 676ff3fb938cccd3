/**
 * Login by an OpenID Connect provider, as kube-apiserver's: a bearer token that is a JWT is good when the issuer has signed it, for us
 * (audience = our client id), and it has not run out. The provider is asked for its keys only, never about a token.
 *
 * Kept: the keys that were last read, also while the issuer does not answer. They are read again every five minutes (keys that were
 * withdrawn are gone then) and, at most each few seconds, when a token names one that is not known. Until the issuer has answered the first
 * time, its users are told to come later; all others are served.
 */
import { createRemoteJWKSet, customFetch, errors, type JWTPayload, jwtVerify, type RemoteJWKSet } from "jose";
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { fetchTls } from "./fetch-tls.ts";
import type { Health } from "./pages.ts";
import type { User } from "./service.ts";

export interface OidcOptions {
  /** As the `iss` of tokens has it, letter for letter: an https URL under which .well-known/openid-configuration is. */
  issuer: string;
  /** The `aud` of tokens. */
  clientId: string;
  /** Claim with the user's name, "sub" by default. The user is called ISSUER#NAME, but for the claim "email": that address. */
  usernameClaim?: string;
  /** Claim with a group or a list of them, "groups" by default; a token without it has none. */
  groupsClaim?: string;
  /** Before each group, "oidc:" by default: so that the provider cannot name those that mean something here. */
  groupsPrefix?: string;
  /** PEM of the CAs of the issuer's certificate; those of Node without it. */
  ca?: string;
  /** How often the keys are read again, and how long after a failure. Milliseconds; for tests. */
  refreshMs?: number;
  retryMs?: number;
  cooldownMs?: number;
}

/** What has been found out of a token that is good. */
export interface OidcLogin {
  user: User;
  /** Milliseconds since 1970. */
  expires: number;
}

/** Why a token is refused: for the log, not for who shows it. */
export class TokenRefused extends Error {}

/** With a secret key there is nobody that could not have made the token himself. */
const ALGORITHMS = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split(" ");
const TIMEOUT_MS = 5000;
/** By how much the provider's clock may differ from ours. */
const CLOCK_SKEW_SECONDS = 5;
const RESERVED = "system:";

/** Structurally the logger of the server. */
interface Log {
  info(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

export class Oidc {
  readonly #options: OidcOptions;
  readonly #log: Log | undefined;
  readonly #stop = new AbortController();
  #keys: RemoteJWKSet | undefined;
  #timer: NodeJS.Timeout | undefined;
  #trouble: string | undefined = "has not answered yet";

  /** Begins to ask the issuer for its keys, and goes on until close(). */
  constructor(options: OidcOptions, log?: Log) {
    this.#options = options;
    this.#log = log;
    void this.#refresh();
  }

  close(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  /** The others are served without it. */
  health(): Health {
    // Everybody may read this: what exactly is wrong stands in the log.
    const message = "the issuer does not answer as it should; the log says why";
    return { name: "oidc", ok: this.#trouble === undefined, optional: true, message };
  }

  /** Whether a bearer token is one to be judged here: the others have no dots in them. */
  static isJwt(token: string): boolean {
    return token.split(".").length === 3;
  }

  /**
   * @throws TokenRefused with the reason, for the log
   * @throws ApiError ServiceUnavailable while the keys could not be read at all
   */
  async login(token: string): Promise<OidcLogin> {
    if (!this.#keys)
      throw new ApiError(
        "ServiceUnavailable",
        "the token cannot be checked now: its issuer has not answered yet; try again",
        { retryAfterSeconds: 5 },
      );
    const { issuer, clientId } = this.#options;
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, this.#keys, {
        issuer,
        audience: clientId,
        algorithms: ALGORITHMS,
        requiredClaims: ["exp"],
        clockTolerance: CLOCK_SKEW_SECONDS,
      }));
    } catch (cause) {
      // Also: the issuer did not answer when it was asked for a key that is not known here.
      const why = cause instanceof errors.JOSEError ? `${cause.code}: ${cause.message}` : String(cause);
      throw new TokenRefused(why, { cause });
    }
    const { exp = 0 } = payload;
    return { user: this.#userOf(payload), expires: (exp + CLOCK_SKEW_SECONDS) * 1000 };
  }

  #userOf(payload: JWTPayload): User {
    const { issuer, usernameClaim = "sub", groupsClaim = "groups", groupsPrefix = "oidc:" } = this.#options;
    const given = claimOf(payload, usernameClaim);
    if (typeof given !== "string" || given === "")
      throw new TokenRefused(`the claim ${usernameClaim} is not there, or not a string`);
    const isEmail = usernameClaim === "email";
    // Whoever may write any address into his profile would be anybody.
    if (isEmail && payload.email_verified !== undefined && payload.email_verified !== true)
      throw new TokenRefused("the issuer has not verified the email address");
    const name = isEmail ? given : `${issuer}#${given}`;
    if (name.startsWith(RESERVED)) throw new TokenRefused(`the user's name starts with ${RESERVED}`);
    const claimed = claimOf(payload, groupsClaim) ?? [];
    const groups: string[] = [];
    for (const group of Array.isArray(claimed) ? claimed : [claimed]) {
      if (typeof group !== "string")
        throw new TokenRefused(`the claim ${groupsClaim} is neither a string nor a list of strings`);
      const prefixed = groupsPrefix + group;
      if (prefixed.startsWith(RESERVED)) throw new TokenRefused(`a group's name starts with ${RESERVED}`);
      groups.push(prefixed);
    }
    return { name, groups };
  }

  async #refresh(): Promise<void> {
    const { issuer, refreshMs = 300_000, retryMs = 10_000 } = this.#options;
    const before = this.#trouble;
    try {
      this.#keys = await this.#read();
      this.#trouble = undefined;
      if (before !== undefined && !this.#stop.signal.aborted) this.#log?.info("oidc.ready", { issuer });
    } catch (error) {
      this.#trouble = error instanceof Error ? error.message : String(error);
      if (before !== this.#trouble && !this.#stop.signal.aborted)
        this.#log?.error("oidc.issuer-unreachable", { issuer, error, again: `in ${retryMs / 1000} s` });
    }
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => void this.#refresh(), this.#trouble === undefined ? refreshMs : retryMs);
    this.#timer.unref();
  }

  /** @throws Error naming the URL and what is wrong there */
  async #read(): Promise<RemoteJWKSet> {
    const { issuer, ca, cooldownMs = 3000 } = this.#options;
    if (this.#keys) {
      await this.#keys.reload();
      return this.#keys;
    }
    const fetch = (url: string | URL, { signal, headers }: { signal: AbortSignal; headers?: Headers }) =>
      fetchTls(url, {
        signal: AbortSignal.any([signal, this.#stop.signal]),
        ...(ca === undefined ? {} : { ca }),
        ...(headers ? { headers } : {}),
      });
    const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const document: unknown = await (await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })).json();
    const [named, jwksUri] = isFields(document) ? [document.issuer, document.jwks_uri] : [];
    if (named !== issuer)
      throw new Error(`${url}: is of the issuer ${JSON.stringify(named)}, not ${JSON.stringify(issuer)}`);
    if (typeof jwksUri !== "string" || !URL.canParse(jwksUri) || new URL(jwksUri).protocol !== "https:")
      throw new Error(`${url}: jwks_uri is not an https URL`);
    const keys = createRemoteJWKSet(new URL(jwksUri), {
      timeoutDuration: TIMEOUT_MS,
      // A flood of tokens with invented keys is not passed on to the issuer.
      cooldownDuration: cooldownMs,
      // Reading again is our loop's: while the issuer is away, the keys are still good.
      cacheMaxAge: Number.POSITIVE_INFINITY,
      [customFetch]: fetch,
    });
    await keys.reload();
    return keys;
  }
}

/** An own property: claims come from outside. */
function claimOf(payload: JWTPayload, name: string): unknown {
  return Object.hasOwn(payload, name) ? payload[name] : undefined;
}
