/**
 * How a host comes in: POST /enroll {token, name, csr, addresses} -> {certificate, ca}.
 *
 * The host makes its key and keeps it; what it gets is a certificate that says CN=system:host:NAME. Who may have it: the holder of a
 * bootstrap token (of a token bound to one host, only that host), or the host itself, by its present certificate, to renew it.
 */
import { ApiError } from "../resource/errors.ts";
import { decodeBody, readBody, typeOfBody } from "./body.ts";
import { type Exchange, sendValue } from "./exchange.ts";
import { HOSTS, hostUser, type Pki } from "./pki.ts";

const MAX_ADDRESSES = 8;

export interface Enrolment {
  token?: string;
  name: string;
  csr: string;
  addresses: string[];
}

function parseEnrolment(value: unknown): Enrolment {
  const wrong = (field: string, what: string): never => {
    throw new ApiError("BadRequest", `${field}: ${what}`);
  };
  if (typeof value !== "object" || value === null)
    return wrong("body", "must be an object with token, name and csr");
  const field = (name: string): unknown =>
    Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
  const [token, name, csr, addresses = []] = [
    field("token"),
    field("name"),
    field("csr"),
    field("addresses"),
  ];
  if (token !== undefined && typeof token !== "string") return wrong("token", "must be a string");
  if (typeof name !== "string") return wrong("name", "the host's name is required");
  if (typeof csr !== "string" || csr.length > 20_000)
    return wrong("csr", "a PKCS#10 request in PEM form is required");
  if (!Array.isArray(addresses) || addresses.length > MAX_ADDRESSES)
    return wrong("addresses", `must be a list of at most ${MAX_ADDRESSES} IP addresses`);
  return { ...(token === undefined ? {} : { token }), name, csr, addresses: addresses.map(String) };
}

/** @returns the name of the host that has enrolled */
export async function enroll(exchange: Exchange, pki: Pki): Promise<string> {
  const { request, user } = exchange;
  const body = decodeBody(await readBody(request), typeOfBody(request));
  const { token, name, csr, addresses } = parseEnrolment(body.value);
  const renews = user.groups.includes(HOSTS) && user.name === hostUser(name);
  if (!renews) {
    const { host } = pki.tokens.checkBootstrap(token ?? "");
    if (host !== undefined && host !== name)
      throw new ApiError(
        "Forbidden",
        `token: this token is for host ${host}, not for ${JSON.stringify(name)}`,
      );
  }
  const certificate = await pki.signHost(name, csr, addresses);
  await sendValue(exchange, 201, { certificate, ca: pki.ca });
  return name;
}
