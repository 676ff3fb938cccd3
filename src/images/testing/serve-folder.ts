/** A folder over HTTP, as a mirror of packages has it. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

export interface ServedFolder {
  /** Without a slash at its end. */
  uri: string;
  /** Also for those who are still connected. */
  close: () => void;
}

export async function serveFolder(folder: string): Promise<ServedFolder> {
  const server = createServer((request, response) => {
    try {
      const { pathname } = new URL(request.url ?? "/", "http://folder");
      response.end(readFileSync(join(folder, join("/", decodeURIComponent(pathname)))));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  // Safe: it listens to a port.
  return { uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}
