/** By what somebody has shown who he is: so that what he began, here or at another control plane, ends when that is good no more. */
import { isFields } from "../resource/fields.ts";
import type { Sessions } from "./sessions.ts";
import type { Enrolled, TakenOut } from "./taken-out.ts";
import type { Tokens } from "./tokens.ts";

/** All of it has to be good. It holds no secret by which one could log in. */
export interface Proof {
  /** Hash of one of our own tokens. */
  token?: string;
  /** Key of a browser's session. */
  session?: string;
  /** Of a certificate, or of a provider's token. Milliseconds since 1970. */
  expires?: number;
  /** Of a certificate of a host. */
  host?: Enrolled;
}

/** Cheap: it is asked every few seconds of each watch. */
export function isStillGood(
  { token, session, expires, host }: Proof,
  {
    tokens,
    sessions,
    takenOut,
  }: {
    tokens: Tokens;
    sessions: Sessions | undefined;
    takenOut: TakenOut | undefined;
  },
): boolean {
  return (
    (token === undefined || tokens.userOfHash(token) !== undefined) &&
    (session === undefined || sessions?.isStillGood(session) === true) &&
    (expires === undefined || Date.now() < expires) &&
    (host === undefined || takenOut?.isIn(host) !== false)
  );
}

/** Undefined of what is none, and of a host's: those ask for nothing that is kept. */
export function parseProof(value: unknown): Proof | undefined {
  if (!isFields(value)) return undefined;
  const { token, session, expires } = value;
  const proof: Proof = {
    ...(typeof token === "string" ? { token } : {}),
    ...(typeof session === "string" ? { session } : {}),
    ...(typeof expires === "number" ? { expires } : {}),
  };
  return Object.keys(proof).length === Object.keys(value).length ? proof : undefined;
}
