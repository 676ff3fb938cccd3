/**
 * A BMC over Redfish (DMTF DSP0266): GET of its ComputerSystem, POST of the action Reset. Who answers is proven before anything is sent: by the
 * certificate's fingerprint, by a CA, or by the CAs that this machine trusts. Names and passwords go to no other place than the one that spec.bmc names: the
 * BMC says only the path of the action, and redirections are not followed.
 */
import { request } from "node:http";
import { isIP } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { isFields } from "../resource/fields.ts";
import { type Bmc, BmcError, type Credentials, type PowerState } from "./bmc.ts";
import type { Redfish } from "./kinds.ts";

const TIMEOUT_MS = 20_000;
/** Of one answer. A ComputerSystem has some KiB. */
const MAX_BYTES = 2 ** 20;
/** What the BMC may call its action's target. */
const TARGET = /^\/redfish\/v1\/[\w.~/#%-]+$/;

/** Why the BMC did not do it, in words that come after "could not be …:". */
class Refusal extends Error {}

interface Answer {
  status: number;
  body: unknown;
}

export function openRedfish(spec: Redfish, credentials: Credentials): Bmc {
  const { url, system } = spec;
  const what = `the BMC at ${url}`;
  const path = `/redfish/v1/Systems/${system}`;
  const ask = async (method: "GET" | "POST", at: string, body?: object): Promise<unknown> => {
    const answer = await exchange(spec, credentials, method, at, body);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    if (answer.status === 401 || answer.status === 403)
      throw new Refusal(
        `it refuses the username or password, or the user may not do that (HTTP ${answer.status}); look at the Secret of spec.bmc.credentials and the user's role there`,
      );
    if (answer.status === 404) throw new Refusal(`it has no ${at}; is spec.bmc.redfish.system right?`);
    throw new Refusal(`it answered HTTP ${answer.status}${detail(answer.body)}`);
  };
  const doing = async <T>(words: string, act: () => Promise<T>): Promise<T> => {
    try {
      return await act();
    } catch (error) {
      const why = error instanceof Refusal ? error.message : `it cannot be reached (${codeOf(error)})`;
      throw new BmcError(`${what} could not be ${words}: ${why}`, { cause: error });
    }
  };
  const reset = async (type: string): Promise<void> => {
    const { target, types } = actionOf(await ask("GET", path), path);
    if (types && !types.includes(type))
      throw new Refusal(`its system knows no reset of the type ${type}, only ${types.join(", ")}`);
    await ask("POST", target, { ResetType: type });
  };
  const shutDown = async (): Promise<void> => {
    const found = await ask("GET", path);
    const { target, types } = actionOf(found, path);
    if (!types || types.includes("GracefulShutdown"))
      return void (await ask("POST", target, { ResetType: "GracefulShutdown" }));
    if (!types.includes("PushPowerButton"))
      throw new Refusal(
        `its system knows no reset that asks the host to shut down (GracefulShutdown, PushPowerButton), only ${types.join(", ")}; where the BMC speaks IPMI, too, name it in spec.bmc.ipmi instead of spec.bmc.redfish`,
      );
    // It would switch on a host that is off, and one that shuts down has been asked.
    if (powerIn(found) === "On") await ask("POST", target, { ResetType: "PushPowerButton" });
  };
  return {
    state: () =>
      doing("asked whether the host is on", async (): Promise<PowerState> => {
        const power = powerIn(await ask("GET", path));
        // What is on its way is not there yet.
        if (power === "On" || power === "PoweringOff" || power === "Paused") return "On";
        if (power === "Off" || power === "PoweringOn") return "Off";
        throw new Refusal(`its ${path} has no PowerState that Redfish knows`);
      }),
    on: () => doing("told to switch the host on", () => reset("On")),
    shutDown: () => doing("told to have the host shut down", shutDown),
    cut: () => doing("told to cut the host's power", () => reset("ForceOff")),
  };
}

const powerIn = (system: unknown): unknown => (isFields(system) ? system.PowerState : undefined);

/** Where the action Reset is, and which types it takes when it says so. */
function actionOf(system: unknown, path: string): { target: string; types?: string[] } {
  const actions = isFields(system) && isFields(system.Actions) ? system.Actions : {};
  const reset = actions["#ComputerSystem.Reset"];
  if (!isFields(reset)) throw new Refusal(`its ${path} offers no action Reset`);
  const { target, "ResetType@Redfish.AllowableValues": types } = reset;
  if (typeof target !== "string" || !TARGET.test(target))
    throw new Refusal(`its ${path} names no path of Redfish for the action Reset`);
  return { target, ...(Array.isArray(types) ? { types: types.map(String) } : {}) };
}

/** What it says of an error, as far as it is text. */
function detail(body: unknown): string {
  const error = isFields(body) && isFields(body.error) ? body.error : {};
  const all: unknown = error["@Message.ExtendedInfo"];
  const [first] = Array.isArray(all) ? all : [];
  const message = isFields(first) ? first.Message : error.message;
  return typeof message === "string" ? `: ${message.replace(/\s+/g, " ").slice(0, 200)}` : "";
}

const codeOf = (error: unknown): string => {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : error instanceof Error ? error.message : "no answer";
};

/** A TLS connection whose other end is proven. @throws Refusal, or what the network says */
async function dial({ url, ca, fingerprint }: Redfish, signal: AbortSignal): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const options: ConnectionOptions = {
    host,
    port: Number(port || 443),
    servername: isIP(host) ? "" : host,
    ...(ca === undefined ? {} : { ca }),
    // Instead of by a CA it is proven by the fingerprint, below.
    ...(fingerprint === undefined ? {} : { rejectUnauthorized: false }),
  };
  const socket = connect(options);
  const abort = () => socket.destroy(new Refusal(`it did not answer within ${TIMEOUT_MS / 1000} s`));
  signal.addEventListener("abort", abort, { once: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", (error) => reject(isCertificateError(error) ? notTrusted(error) : error));
  });
  if (fingerprint === undefined) return socket;
  const bare = (text: string) => text.replaceAll(":", "").toUpperCase();
  const { fingerprint256: shown } = socket.getPeerCertificate();
  if (shown && bare(shown) === bare(fingerprint)) return socket;
  socket.destroy();
  throw new Refusal(
    `its certificate is another one, with the SHA-256 fingerprint ${shown}; when that is right, write it to spec.bmc.redfish.fingerprint`,
  );
}

const isCertificateError = (error: Error): boolean =>
  /CERT|SELF_SIGNED|ISSUER|LEAF_SIGNATURE|ALTNAME/.test(codeOf(error));
const notTrusted = (error: Error) =>
  new Refusal(
    `its certificate is not trusted (${codeOf(error)}); name its CA (spec.bmc.redfish.ca) or its fingerprint (spec.bmc.redfish.fingerprint)`,
    { cause: error },
  );

async function exchange(
  spec: Redfish,
  { username, password }: Credentials,
  method: "GET" | "POST",
  path: string,
  body?: object,
): Promise<Answer> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const socket = await dial(spec, signal);
  const sent = body && JSON.stringify(body);
  try {
    return await new Promise<Answer>((resolve, reject) => {
      socket.once("error", reject);
      const call = request({
        createConnection: () => socket,
        host: new URL(spec.url).host,
        method,
        path,
        headers: {
          host: new URL(spec.url).host,
          accept: "application/json",
          "odata-version": "4.0",
          authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`,
          connection: "close",
          ...(sent === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(sent) }),
        },
      });
      call.once("error", reject);
      call.once("response", (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_BYTES) socket.destroy(new Refusal(`its answer has more than ${MAX_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.once("error", reject);
        response.once("close", () => reject(new Refusal("its answer broke off")));
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, body: parse(Buffer.concat(chunks).toString()) }),
        );
      });
      call.end(sent);
    });
  } finally {
    socket.destroy();
  }
}

/** Undefined when it is no JSON: of an error, often a page. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
