/** Who is asking: by bearer token (ours, or an OIDC provider's), by the session of a browser, or by TLS client certificate. */
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { ApiError, type StatusDetails } from "../resource/errors.ts";
import { hostOfUser, MIGRATIONS } from "../resource/host-name.ts";
import { Oidc, TokenRefused } from "./oidc.ts";
import { HOSTS } from "./pki.ts";
import { isStillGood, type Proof } from "./proof.ts";
import type { User } from "./service.ts";
import { refuseForeignWrite, type Sessions } from "./sessions.ts";
import type { TakenOut } from "./taken-out.ts";
import { hashOf, type Tokens } from "./tokens.ts";

export const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };
const AUTHENTICATED = "system:authenticated";

/** Somebody who has shown who he is. */
export interface Login {
  user: User;
  by: Proof;
}

/** By what logins are judged. */
export interface Known {
  tokens: Tokens;
  oidc: Oidc | undefined;
  sessions: Sessions | undefined;
  takenOut: TakenOut | undefined;
}

const refused = (what: string, options?: ErrorOptions, details: StatusDetails = {}) =>
  new ApiError("Unauthorized", `Unauthorized: ${what}`, details, options);

/**
 * @returns ANONYMOUS when no credentials were shown
 * @throws ApiError Unauthorized when they were shown but are not good: never less silently than asked for. Its cause, if any, says why, for
 * the log. ServiceUnavailable while it cannot be found out
 */
export async function authenticate(request: IncomingMessage, known: Known): Promise<Login> {
  const { authorization } = request.headers;
  if (authorization === undefined) return (await bySession(request, known)) ?? byCertificate(request, known);
  const token = /^Bearer +([\x21-\x7e]+)$/i.exec(authorization)?.[1];
  const login = token === undefined ? undefined : await byToken(token, known);
  if (!login) throw unknownToken();
  return authenticated(login);
}

const unknownToken = (options?: ErrorOptions) =>
  refused("the bearer token is not known or has run out", options);
const authenticated = ({ user: { name, groups }, by }: Login): Login => ({
  user: { name, groups: [...groups, AUTHENTICATED] },
  by,
});

/** A session for whoever has this token. @throws ApiError Unauthorized */
export async function signIn(
  token: string,
  { sessions, ...known }: Known,
): Promise<{ cookie: string; expires: Date; user: User }> {
  const login = sessions && (await byToken(token, known));
  if (!login) throw unknownToken();
  const { user, by } = login;
  const isKnown = (hash: string) => known.tokens.userOfHash(hash) !== undefined;
  const of = by.expires === undefined ? { token, user } : { user, expires: by.expires };
  const begun = await sessions.begin(of, isKnown);
  return { ...begun, user };
}

/** @throws ApiError Unauthorized when it has ended, Forbidden when another site's page writes by it */
async function bySession(request: IncomingMessage, { sessions, tokens }: Known): Promise<Login | undefined> {
  const session = await sessions?.find(request);
  if (!session) return undefined;
  refuseForeignWrite(request);
  const { kept, key } = session;
  const user = kept.token === undefined ? kept.user : tokens.userOfHash(kept.token);
  if (!user) throw refused("the token of this session was revoked or has run out; sign in again");
  const by = { session: key, ...(kept.token === undefined ? {} : { token: kept.token }) };
  return authenticated({ user, by });
}

async function byToken(
  token: string,
  { tokens, oidc }: Pick<Known, "tokens" | "oidc">,
): Promise<Login | undefined> {
  if (!oidc || !Oidc.isJwt(token)) {
    const hash = hashOf(token);
    const user = tokens.userOfHash(hash);
    return user && { user, by: { token: hash } };
  }
  try {
    const { user, expires } = await oidc.login(token);
    return { user, by: { expires } };
  } catch (cause) {
    if (!(cause instanceof TokenRefused)) throw cause;
    throw unknownToken({ cause });
  }
}

/** Its agent looks for the cause: by it, and by no other refusal, it gives its certificate up (agent/enrol.ts). */
function takenOut(name: string): ApiError {
  const message = `host ${name} was taken out (its Host was deleted) after it had got this certificate; to have it back, enrol it again: \`vireo enrol FILE\` on the control plane's machine, then start its agent with that file`;
  return refused(message, {}, { causes: [{ field: "", reason: "HostTakenOut", message }] });
}

const NOBODY: Login = { user: ANONYMOUS, by: {} };
/** Of connections: what they were made with is read once. */
const logins = new WeakMap<TLSSocket, Login>();

function byCertificate({ socket }: IncomingMessage, known: Known): Login {
  if (!(socket instanceof TLSSocket)) return NOBODY;
  const login = logins.get(socket) ?? loginOf(socket);
  logins.set(socket, login);
  if (login === NOBODY) return login;
  const { host } = login.by;
  // Not to whoever has signed a certificate for himself.
  if (socket.authorized && host && known.takenOut?.isIn(host) === false) throw takenOut(host.name);
  // A connection may live on for longer than the certificate by which it was made.
  if (!socket.authorized || !isStillGood(login.by, known))
    throw refused("the client certificate is not valid for this control plane");
  return login;
}

/** @throws ApiError Unauthorized when its certificate names nobody */
function loginOf(socket: TLSSocket): Login {
  const certificate = socket.getPeerCertificate();
  // An empty object when the client has shown none.
  if (!certificate?.subject) return NOBODY;
  const { CN, O } = certificate.subject;
  if (typeof CN !== "string" || CN === "") throw refused("the client certificate names no user (CN)");
  const groups = O === undefined ? [] : [O].flat();
  // Any QEMU is lent it while its machine moves, also one that its guest has taken over.
  if (groups.includes(MIGRATIONS))
    throw refused("this certificate is for the streams between hosts, nobody logs in by it");
  const host = groups.includes(HOSTS) ? hostOfUser(CN) : undefined;
  const by: Proof = {
    expires: Date.parse(certificate.valid_to),
    ...(host === undefined ? {} : { host: { name: host, revision: Number(certificate.subject.OU ?? 0) } }),
  };
  return authenticated({ user: { name: CN, groups }, by });
}
