/**
 * How a host comes in: POST /enroll {token, name, csr, addresses, use} -> {certificate, ca}.
 *
 * The host makes its key and keeps it; what it gets is a certificate that says CN=system:host:NAME. Who may have it: the holder of a
 * bootstrap token (of a token bound to one host, only that host), or the host itself, by its present certificate, to renew it. With use: "migrations" the
 * host itself gets another one, for another key: that of the streams between hosts, by which nobody logs in.
 */
import { ApiError } from "../resource/errors.ts";
import { hostUser } from "../resource/host-name.ts";
import { decodeBody, readBody, typeOfBody } from "./body.ts";
import { type Exchange, sendValue } from "./exchange.ts";
import { HOSTS, type Pki } from "./pki.ts";
import type { TakenOut } from "./taken-out.ts";

const MAX_ADDRESSES = 8;

export interface Enrolment {
  token?: string;
  name: string;
  csr: string;
  addresses: string[];
  use?: "migrations";
}

function parseEnrolment(value: unknown): Enrolment {
  const wrong = (field: string, what: string): never => {
    throw new ApiError("BadRequest", `${field}: ${what}`);
  };
  if (typeof value !== "object" || value === null)
    return wrong("body", "must be an object with token, name and csr");
  const field = (name: string): unknown =>
    Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
  const [token, name, csr, addresses = [], use] = [
    field("token"),
    field("name"),
    field("csr"),
    field("addresses"),
    field("use"),
  ];
  if (token !== undefined && typeof token !== "string") return wrong("token", "must be a string");
  if (typeof name !== "string") return wrong("name", "the host's name is required");
  if (typeof csr !== "string" || csr.length > 20_000)
    return wrong("csr", "a PKCS#10 request in PEM form is required");
  if (!Array.isArray(addresses) || addresses.length > MAX_ADDRESSES)
    return wrong("addresses", `must be a list of at most ${MAX_ADDRESSES} IP addresses`);
  if (use !== undefined && use !== "migrations")
    return wrong("use", 'must be "migrations", or absent for the certificate by which the host logs in');
  return {
    ...(token === undefined ? {} : { token }),
    name,
    csr,
    addresses: addresses.map(String),
    ...(use === undefined ? {} : { use }),
  };
}

/** @returns the name of the host that has enrolled */
export async function enroll(exchange: Exchange, pki: Pki, takenOut: TakenOut | undefined): Promise<string> {
  const { request, user } = exchange;
  const body = decodeBody(await readBody(request), typeOfBody(request));
  const { token, name, csr, addresses, use } = parseEnrolment(body.value);
  const renews = user.groups.includes(HOSTS) && user.name === hostUser(name);
  if (use && !renews)
    throw new ApiError(
      "Forbidden",
      `use: only host ${JSON.stringify(name)} itself gets it, by its certificate`,
    );
  if (!renews) {
    const { host } = pki.tokens.checkBootstrap(token ?? "");
    if (host !== undefined && host !== name)
      throw new ApiError(
        "Forbidden",
        `token: this token is for host ${host}, not for ${JSON.stringify(name)}`,
      );
  }
  // Renewed, it is no newer than it was: the host may be taken out just now.
  const revision = renews && exchange.by.host ? exchange.by.host.revision : await takenOut?.revision();
  const certificate = use
    ? await pki.signMigrations(name, csr)
    : await pki.signHost(name, csr, addresses, revision);
  await sendValue(exchange, 201, { certificate, ca: pki.ca });
  return name;
}
