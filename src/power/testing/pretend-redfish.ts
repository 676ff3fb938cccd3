/** A pretend BMC that speaks Redfish (DMTF DSP0266, ComputerSystem and its action Reset) over real HTTPS. */

import { X509Certificate } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { Credentials } from "../../api/certificates.ts";

export interface PretendRedfish {
  url: string;
  /** SHA-256 of its certificate. */
  fingerprint: string;
  power: string;
  /** The types of reset that it says it knows. */
  types: string[];
  /** Where it says that its action is. */
  target: string;
  /** Authorization headers that came, also wrong ones. */
  readonly authorizations: string[];
  readonly resets: string[];
  close(): Promise<void>;
}

export const SYSTEM = "System.Embedded.1";
const PATH = `/redfish/v1/Systems/${SYSTEM}`;
/** How a client that knows no path finds the system (DSP0266, 6.5); the first two are told to everybody. */
const WAY: Readonly<Record<string, object>> = {
  "/redfish": { v1: "/redfish/v1/" },
  "/redfish/v1/": { "@odata.id": "/redfish/v1/", Systems: { "@odata.id": "/redfish/v1/Systems" } },
  "/redfish/v1/Systems": {
    "@odata.id": "/redfish/v1/Systems",
    Members: [{ "@odata.id": PATH }],
    "Members@odata.count": 1,
  },
};

export async function startPretendRedfish(
  { cert, key }: Credentials,
  login: { username: string; password: string },
): Promise<PretendRedfish> {
  const expected = `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
  const pretend: PretendRedfish = {
    url: "",
    fingerprint: new X509Certificate(cert).fingerprint256,
    power: "Off",
    types: ["On", "ForceOff", "GracefulShutdown", "ForceRestart"],
    target: `${PATH}/Actions/ComputerSystem.Reset`,
    authorizations: [],
    resets: [],
    close: async () => {},
  };
  const answer = (response: ServerResponse, status: number, body?: object) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(body && JSON.stringify(body));
  };
  const fails = (response: ServerResponse, status: number, Message: string) =>
    answer(response, status, {
      error: { code: "Base.1.0.GeneralError", message: "see more", "@Message.ExtendedInfo": [{ Message }] },
    });
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const { method, url = "" } = request;
    const way = method === "GET" ? WAY[url] : undefined;
    if (way && !url.endsWith("/Systems")) return answer(response, 200, way);
    const { authorization = "" } = request.headers;
    pretend.authorizations.push(authorization);
    if (authorization !== expected) return fails(response, 401, "who are you");
    if (way) return answer(response, 200, way);
    if (method === "GET" && url === PATH)
      return answer(response, 200, {
        "@odata.id": PATH,
        Id: SYSTEM,
        PowerState: pretend.power,
        Actions: {
          "#ComputerSystem.Reset": {
            target: pretend.target,
            "ResetType@Redfish.AllowableValues": pretend.types,
          },
        },
      });
    if (method !== "POST" || url !== `${PATH}/Actions/ComputerSystem.Reset`)
      return fails(response, 404, "there is no such resource");
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const asked: unknown = JSON.parse(text);
    const type = typeof asked === "object" && asked !== null ? String(Reflect.get(asked, "ResetType")) : "";
    if (!pretend.types.includes(type)) return fails(response, 400, `no reset ${type}`);
    pretend.resets.push(type);
    const pressed = type === "PushPowerButton" && pretend.power === "Off";
    pretend.power = type === "On" || pressed ? "On" : "Off";
    return answer(response, 204);
  };
  const server = createServer({ cert, key }, (request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (!address || typeof address === "string") throw new Error("no port");
  pretend.url = `https://127.0.0.1:${address.port}`;
  pretend.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return pretend;
}
