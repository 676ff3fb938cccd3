/** How a console is opened: a one-time ticket for its path, then a WebSocket by that. */
import { request } from "../data/api.ts";
import { objectPath, type VirtualMachine } from "../data/kinds.ts";

/** @returns the WebSocket's URL, good once and for half a minute. @throws ApiError why there is no console */
export async function consoleUrl(vm: VirtualMachine, kind: "vnc" | "console"): Promise<string> {
  const path = `${objectPath("virtualmachines", vm.metadata)}/${kind}`;
  const { ticket } = await request<{ ticket: string }>("POST", path);
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = String(new URLSearchParams({ ticket }));
  return url.href;
}
