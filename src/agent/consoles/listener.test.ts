import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:https";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createSigningRequest, Pki } from "../../api/pki.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { CONSOLE_PROTOCOL, CONTROL_PLANE_USER } from "../../resource/console-protocol.ts";
import { serveConsoles } from "./listener.ts";

it("a console that is had only after the control plane has hung up is closed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-listener-"));
  const pki = await Pki.open(folder);
  const { csr, key } = await createSigningRequest("a");
  const cert = await pki.signHost("a", csr, ["127.0.0.1"]);
  const screen = Promise.withResolvers<Socket>();
  const asked = Promise.withResolvers<void>();
  const none = () => Promise.reject(new Error("is not asked for"));
  const display = () => {
    asked.resolve();
    return screen.promise;
  };
  const listener = await serveConsoles({
    address: "127.0.0.1",
    credentials: { ca: pki.ca, cert, key },
    consoles: { display, serial: none, screenshot: none },
    log: silentLogger,
  });
  try {
    const dialled = request(`https://${listener.address}/machines/8b0e5f8e-6f0c-4a1c-9a67-1c7a3f9f3c11/vnc`, {
      ...(await pki.clientCredentials(CONTROL_PLANE_USER, [])),
      ca: pki.ca,
      headers: { connection: "Upgrade", upgrade: CONSOLE_PROTOCOL },
    });
    dialled.on("error", () => {});
    dialled.end();
    await asked.promise;
    const hungUp = new Promise((resolve) => dialled.once("close", resolve));
    dialled.destroy();
    await hungUp;
    // The other end has heard of it once it answers somebody who came later.
    const later = request(`https://${listener.address}/`, {
      ...(await pki.clientCredentials(CONTROL_PLANE_USER, [])),
      ca: pki.ca,
      agent: false,
    }).end();
    const [answer] = await once(later, "response");
    answer.resume();
    const socket = new Socket();
    screen.resolve(socket);
    await once(socket, "close");
    expect(socket.destroyed).toBe(true);
  } finally {
    listener.close();
    rmSync(folder, { recursive: true });
  }
});

it("answers neither a host nor what is lent to its QEMUs", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-listener-"));
  const pki = await Pki.open(folder);
  const { csr, key } = await createSigningRequest("a");
  const cert = await pki.signHost("a", csr, ["127.0.0.1"]);
  const none = () => Promise.reject(new Error("is not asked for"));
  const listener = await serveConsoles({
    address: "127.0.0.1",
    credentials: { ca: pki.ca, cert, key },
    consoles: { display: none, serial: none, screenshot: none },
    log: silentLogger,
  });
  try {
    for (const shown of [cert, await pki.signMigrations("a", csr)]) {
      const asked = request(`https://${listener.address}/machines/8b0e5f8e-6f0c-4a1c-9a67-1c7a3f9f3c11/log`, {
        cert: shown,
        key,
        ca: pki.ca,
        agent: false,
      }).end();
      const [answer] = await once(asked, "response");
      answer.resume();
      expect(answer.statusCode).toBe(403);
    }
  } finally {
    listener.close();
    rmSync(folder, { recursive: true });
  }
});
