/**
 * Asks a web server for a file, and never one that only this machine reaches: loopback and link-local addresses, where services without passwords and the secrets of
 * clouds are. It is the address that is looked at once a name is resolved, for each server that the one before leads to.
 */
import { lookup } from "node:dns";
import { type IncomingMessage, request as plain } from "node:http";
import { request as encrypted } from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";

/** How often a server may lead to another one. */
const MAX_REDIRECTS = 10;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

const near = new BlockList();
near.addSubnet("0.0.0.0", 8);
near.addSubnet("127.0.0.0", 8);
near.addSubnet("169.254.0.0", 16);
near.addAddress("::", "ipv6");
near.addAddress("::1", "ipv6");
near.addSubnet("fe80::", 10, "ipv6");
// Metadata of EC2 over IPv6.
near.addAddress("fd00:ec2::254", "ipv6");

/** @param address IPv4 or IPv6, also one within the other */
export const isFar = (address: string) => !near.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");

export interface Question {
  url: string;
  headers: Readonly<Record<string, string>>;
  signal: AbortSignal;
  /** Whether an address may be asked. */
  mayAsk: (address: string) => boolean;
}

/** @returns the answer of the server that it leads to at last. @throws Error without the URL, which may have a secret in it */
export async function ask(question: Question): Promise<IncomingMessage> {
  let url = new URL(question.url);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const answer = await askOne(url, question);
    const { location } = answer.headers;
    if (location === undefined || !REDIRECTS.includes(answer.statusCode ?? 0)) return answer;
    answer.destroy();
    const next = URL.parse(location, url.href);
    if (next?.protocol !== "http:" && next?.protocol !== "https:")
      throw new Error("it leads to something else than http or https");
    url = next;
  }
  throw new Error(`it leads to another place more than ${MAX_REDIRECTS} times`);
}

function askOne(url: URL, { headers, signal, mayAsk }: Question): Promise<IncomingMessage> {
  // Addresses are not looked up; IPv6 is in brackets.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0 && !mayAsk(host)) return Promise.reject(tooNear());
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = url.protocol === "https:" ? encrypted : plain;
  request(url, { headers, signal, agent: false, lookup: lookupOf(mayAsk) })
    .once("response", resolve)
    .once("error", reject)
    .end();
  return promise;
}

const lookupOf =
  (mayAsk: (address: string) => boolean): LookupFunction =>
  (host, options, done) =>
    lookup(host, { ...options, all: true }, (error, found) => {
      const [first] = found ?? [];
      if (error || !first) return done(error, "");
      if (!found.every(({ address }) => mayAsk(address))) return done(tooNear(), "");
      return options.all ? done(null, found) : done(null, first.address, first.family);
    });

const tooNear = () =>
  new Error(
    "it leads to an address of the control plane itself or of its cloud (loopback, link-local); fetch the file, and send it: vireo image import NAME FILE",
  );
