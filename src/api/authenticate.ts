/** Who is asking: by bearer token (ours, or an OIDC provider's) or by TLS client certificate. */
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { ApiError } from "../resource/errors.ts";
import { Oidc, TokenRefused } from "./oidc.ts";
import type { User } from "./service.ts";
import type { Tokens } from "./tokens.ts";

export const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };
const AUTHENTICATED = "system:authenticated";

/** Somebody who has shown who he is. */
export interface Login {
  user: User;
  /** Whether what he has shown is still good: not run out, not revoked. Cheap: it is asked every few seconds of each watch. */
  isGood: () => boolean;
}

const refused = (what: string, options?: ErrorOptions) =>
  new ApiError("Unauthorized", `Unauthorized: ${what}`, {}, options);

/**
 * @returns ANONYMOUS when no credentials were shown
 * @throws ApiError Unauthorized when they were shown but are not good: never less silently than asked for. Its cause, if any, says why, for
 * the log. ServiceUnavailable while it cannot be found out
 */
export async function authenticate(
  request: IncomingMessage,
  known: { tokens: Tokens; oidc: Oidc | undefined },
): Promise<Login> {
  const { authorization } = request.headers;
  if (authorization === undefined) return byCertificate(request);
  const token = /^Bearer +([\x21-\x7e]+)$/i.exec(authorization)?.[1];
  const login = token === undefined ? undefined : await byToken(token, known);
  if (!login) throw refused("the bearer token is not known or has run out");
  const { name, groups } = login.user;
  return { user: { name, groups: [...groups, AUTHENTICATED] }, isGood: login.isGood };
}

async function byToken(
  token: string,
  { tokens, oidc }: { tokens: Tokens; oidc: Oidc | undefined },
): Promise<Login | undefined> {
  if (!oidc || !Oidc.isJwt(token)) {
    const user = tokens.userOf(token);
    return user && { user, isGood: () => tokens.userOf(token) !== undefined };
  }
  try {
    const { user, expires } = await oidc.login(token);
    return { user, isGood: () => Date.now() < expires };
  } catch (cause) {
    if (!(cause instanceof TokenRefused)) throw cause;
    throw refused("the bearer token is not known or has run out", { cause });
  }
}

function byCertificate({ socket }: IncomingMessage): Login {
  const nobody = { user: ANONYMOUS, isGood: () => true };
  if (!(socket instanceof TLSSocket)) return nobody;
  const certificate = socket.getPeerCertificate();
  // An empty object when the client has shown none.
  if (!certificate?.subject) return nobody;
  const end = Date.parse(certificate.valid_to);
  // A connection may live on for longer than the certificate by which it was made.
  const isGood = () => socket.authorized && Date.now() < end;
  if (!isGood()) throw refused("the client certificate is not valid for this control plane");
  const { CN, O } = certificate.subject;
  if (typeof CN !== "string" || CN === "") throw refused("the client certificate names no user (CN)");
  return { user: { name: CN, groups: [...(O === undefined ? [] : [O].flat()), AUTHENTICATED] }, isGood };
}
