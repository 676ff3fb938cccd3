/** Who is asking: by bearer token or by TLS client certificate. */
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { ApiError } from "../resource/errors.ts";
import type { User } from "./service.ts";

export const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };
const AUTHENTICATED = "system:authenticated";

/**
 * @returns ANONYMOUS when no credentials were shown
 * @throws ApiError Unauthorized when they were shown but are not good: never less silently than asked for
 */
export function authenticate(
  request: IncomingMessage,
  userOfToken: (token: string) => User | undefined,
): User {
  const { authorization } = request.headers;
  if (authorization !== undefined) {
    const token = /^Bearer +([\x21-\x7e]+)$/i.exec(authorization)?.[1];
    const user = token === undefined ? undefined : userOfToken(token);
    if (!user)
      throw new ApiError("Unauthorized", "Unauthorized: the bearer token is not known or has run out");
    return { name: user.name, groups: [...user.groups, AUTHENTICATED] };
  }
  const { socket } = request;
  if (!(socket instanceof TLSSocket)) return ANONYMOUS;
  const certificate = socket.getPeerCertificate();
  // An empty object when the client has shown none.
  if (!certificate?.subject) return ANONYMOUS;
  if (!socket.authorized)
    throw new ApiError(
      "Unauthorized",
      "Unauthorized: the client certificate is not valid for this control plane",
    );
  const { CN, O } = certificate.subject;
  if (typeof CN !== "string" || CN === "")
    throw new ApiError("Unauthorized", "Unauthorized: the client certificate names no user (CN)");
  return { name: CN, groups: [...(O === undefined ? [] : [O].flat()), AUTHENTICATED] };
}
