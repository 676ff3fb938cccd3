import { createServer } from "node:net";

/** A TCP port that is free now at all addresses. */
export function freePort(): Promise<number> {
  return new Promise((done, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "0.0.0.0", () => {
      const address = server.address();
      server.close(() =>
        address && typeof address === "object" ? done(address.port) : reject(new Error("no port")),
      );
    });
  });
}
