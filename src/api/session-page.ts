/** POST and DELETE of /session: how a browser signs in and out (sessions.ts). */
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { type Known, signIn } from "./authenticate.ts";
import { decodeBody, readBody, typeOfBody } from "./body.ts";
import { type Exchange, sendValue } from "./exchange.ts";
import type { Fairness } from "./fairness.ts";
import { refuseForeignWrite, type Sessions } from "./sessions.ts";

/** @throws ApiError Unauthorized for a token that is not good, Forbidden for a page of another site */
export async function answerSession(
  exchange: Exchange,
  known: Known & { sessions: Sessions },
  fairness: Fairness,
): Promise<void> {
  const { request, response } = exchange;
  if (request.method !== "POST" && request.method !== "DELETE")
    throw new ApiError(
      "MethodNotAllowed",
      "sessions are begun by POST /session and ended by DELETE /session",
    );
  // Also: nobody is signed in as somebody else by a page of theirs.
  refuseForeignWrite(request);
  exchange.leave = await fairness.enter(`address ${request.socket.remoteAddress}`, 1, exchange.over);
  if (request.method === "DELETE") {
    response.setHeader("set-cookie", await known.sessions.end(request));
    return sendValue(exchange, 200, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" });
  }
  const { value } = decodeBody(await readBody(request), typeOfBody(request));
  const token = isFields(value) ? value.token : undefined;
  if (typeof token !== "string" || token === "")
    throw new ApiError("BadRequest", 'token: the body must be {"token": "…"}');
  const { cookie, expires, user } = await signIn(token, known);
  exchange.user = user;
  response.setHeader("set-cookie", cookie);
  await sendValue(exchange, 201, { user: user.name, groups: user.groups, expires: expires.toISOString() });
}
