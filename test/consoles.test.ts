/** The consoles of real machines through the API, as a user's client sees them: over live migrations, with tickets, and only for whom they are. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInflate, type Inflate } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AuditLog } from "../src/api/audit.ts";
import { ensureAdminKubeconfig } from "../src/api/kubeconfig.ts";
import { ADMINS, Pki } from "../src/api/pki.ts";
import { RoleBinding } from "../src/api/rbac-kinds.ts";
import type { HttpClient } from "../src/client/http.ts";
import { type OpenSocket, openSocket } from "../src/client/websocket.ts";
import { Instance } from "../src/compute/kinds.ts";
import { AgentLink } from "../src/consoles/agent-link.ts";
import { readPng } from "../src/qemu/testing/png.ts";
import { NS, RealEstate } from "./support/real-estate.ts";
import { ROOT, run, until } from "./support/stack.ts";

const HELLO = "vireo: console\r\n";
const PATH = (vm: string) => `/apis/vireo.dev/v1/namespaces/${NS}/virtualmachines/${vm}`;
const TTL_MS = 6000;

let estate: RealEstate;
let auditFolder: string;
let admin: HttpClient;
const logged: unknown[] = [];
beforeAll(async () => {
  auditFolder = mkdtempSync(join(tmpdir(), "vireo-audit-"));
  const log = {
    info: (...said: unknown[]) => logged.push(said),
    error: (...said: unknown[]) => logged.push(said),
  };
  estate = await RealEstate.open("console", {
    ticketTtlMs: TTL_MS,
    audit: new AuditLog(auditFolder, "test"),
    log,
  });
  admin = estate.connect({ token: estate.pki.tokens.addUser({ name: "admin", groups: [ADMINS] }) });
  await Promise.all([
    estate.runMachine("web", "a", { hardware: { video: "vga" } }),
    estate.runMachine("plain", "b"),
  ]);
});
afterAll(async () => {
  await estate?.close();
  rmSync(auditFolder, { recursive: true });
});

/** What comes, as one growing text. */
function textOf({ stream }: OpenSocket): () => string {
  let text = "";
  stream.on("data", (bytes: Buffer) => {
    text += bytes.toString("latin1");
  });
  return () => text;
}
const heard = (what: string, text: () => string, wanted: (text: string) => boolean) =>
  until(
    what,
    30_000,
    async () => wanted(text()) || undefined,
    () => JSON.stringify(text().slice(-500)),
  );

it("a session at the serial port outlives a live migration, and not a byte is lost or doubled", async () => {
  const session = await openSocket(admin, `${PATH("plain")}/console`);
  const text = textOf(session);
  await heard("the log first", text, (said) => said === HELLO);
  session.stream.write("ab");
  await heard("the echo", text, (said) => said === `${HELLO}ab`);
  session.stream.write("~");
  await heard("counting", text, (said) => said.length > 500);
  await estate.migrate("plain");
  const there = text().length;
  await heard("counting at the target", text, (said) => said.length > there + 500);
  session.stream.write(".");
  session.stream.write("c");
  await heard("the echo from there", text, (said) => said.endsWith(".c"));
  const counted = text().slice(HELLO.length + 2, -2);
  const wrong = [...counted].findIndex((letter, i) => letter !== String.fromCharCode(97 + (i % 26)));
  expect(wrong, counted.slice(Math.max(0, wrong - 60), wrong + 60)).toBe(-1);
  session.close();
});

/** A VNC viewer that knows no encoding but raw: its screen, and how it has changed. */
class Viewer {
  readonly #socket: OpenSocket;
  #bytes = Buffer.alloc(0);
  #width = 0;
  #height = 0;
  #screen = Buffer.alloc(0);
  readonly #streams = new Map<number, Inflate>();
  updates = 0;
  resized = 0;
  /** Rectangles of Tight, and those of which streams begin anew. */
  tight = 0;
  restarts = 0;

  constructor(socket: OpenSocket) {
    this.#socket = socket;
  }

  /** @param encodings before raw */
  async greet(encodings: readonly number[]): Promise<string> {
    const { stream } = this.#socket;
    stream.on("data", (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
    });
    expect((await this.#take(12)).toString()).toBe("RFB 003.008\n");
    stream.write("RFB 003.008\n");
    expect(await this.#take(2)).toEqual(Buffer.from([1, 1]));
    stream.write(Buffer.from([1]));
    expect((await this.#take(4)).readUInt32BE()).toBe(0);
    stream.write(Buffer.from([1]));
    const init = await this.#take(24);
    this.#resize(init.readUInt16BE(0), init.readUInt16BE(2));
    const name = (await this.#take(init.readUInt32BE(20))).toString();
    const all = [...encodings, 0];
    const message = Buffer.alloc(4 + all.length * 4);
    message[0] = 2;
    message.writeUInt16BE(all.length, 2);
    for (const [i, encoding] of all.entries()) message.writeInt32BE(encoding, 4 + i * 4);
    stream.write(message);
    return name;
  }

  /** How many pixels are not black. */
  get lit(): number {
    let lit = 0;
    for (let i = 0; i < this.#screen.length; i += 4) if (this.#screen.readUInt32LE(i) & 0xffffff) lit++;
    return lit;
  }

  get size(): string {
    return `${this.#width} x ${this.#height}`;
  }

  ask(incremental: boolean): void {
    const request = Buffer.alloc(10);
    request[0] = 3;
    request[1] = Number(incremental);
    request.writeUInt16BE(this.#width, 6);
    request.writeUInt16BE(this.#height, 8);
    this.#socket.stream.write(request);
  }

  /** A key down and up, by its keysym. */
  press(keysym: number): void {
    for (const down of [1, 0])
      this.#socket.stream.write(Buffer.from([4, down, 0, 0, 0, 0, keysym >> 8, keysym & 255]));
  }

  /** Takes updates, and asks for the next one each time, until what it sees is as wanted. */
  async until(what: string, wanted: () => boolean): Promise<void> {
    for (const deadline = Date.now() + 30_000; !wanted(); ) {
      if (Date.now() > deadline)
        throw new Error(`${what}: not seen; ${this.lit} pixels are lit, ${this.size}`);
      await this.#update();
      this.ask(true);
    }
  }

  async #update(): Promise<void> {
    const [type] = await this.#take(1);
    if (type !== 0) throw new Error(`message of type ${type}`);
    this.updates++;
    const head = await this.#take(3);
    for (let left = head.readUInt16BE(1); left > 0; left--) {
      const rectangle = await this.#take(12);
      const [x, y, width, height] = [0, 2, 4, 6].map((i) => rectangle.readUInt16BE(i)) as [
        number,
        number,
        number,
        number,
      ];
      const encoding = rectangle.readInt32BE(8);
      if (encoding === -223) {
        this.resized++;
        this.#resize(width, height);
        continue;
      }
      if (encoding === 7) {
        await this.#tight(width, height);
        continue;
      }
      expect(encoding).toBe(0);
      const pixels = await this.#take(width * height * 4);
      for (let row = 0; row < height; row++)
        pixels.copy(this.#screen, ((y + row) * this.#width + x) * 4, row * width * 4, (row + 1) * width * 4);
    }
  }

  /** Unpacks it as a viewer does, by streams that go on from one rectangle to the next; draws nothing. */
  async #tight(width: number, height: number): Promise<void> {
    const [control = 0] = await this.#take(1);
    for (let i = 0; i < 4; i++) if ((control >> i) & 1) this.#streams.delete(i);
    if (control & 0x0f) this.restarts++;
    const kind = control >> 4;
    this.tight++;
    if (kind === 8) return void (await this.#take(3));
    let bytes = width * height * 3;
    if (kind & 4 && (await this.#take(1))[0] === 1) {
      const colours = ((await this.#take(1))[0] ?? 0) + 1;
      await this.#take(colours * 3);
      bytes = colours === 2 ? Math.ceil(width / 8) * height : width * height;
    }
    if (bytes < 12) return void (await this.#take(bytes));
    let length = 0;
    for (const shift of [0, 7, 14]) {
      const [byte = 0] = await this.#take(1);
      length |= (byte & 0x7f) << shift;
      if (!(byte & 0x80)) break;
    }
    const packed = await this.#take(length);
    const stream = this.#streams.get(kind & 3) ?? createInflate();
    this.#streams.set(kind & 3, stream);
    let unpacked = 0;
    const count = (part: Buffer) => {
      unpacked += part.length;
    };
    stream.on("data", count);
    await new Promise<void>((resolve, reject) => {
      stream.once("error", reject);
      stream.write(packed, () => resolve());
    });
    await until("what is packed", 5000, async () => unpacked >= bytes || undefined);
    stream.off("data", count);
    expect(unpacked).toBe(bytes);
  }

  #resize(width: number, height: number): void {
    this.#width = width;
    this.#height = height;
    this.#screen = Buffer.alloc(width * height * 4);
  }

  #take(length: number): Promise<Buffer> {
    const look = async () => {
      if (this.#bytes.length < length) return undefined;
      const taken = this.#bytes.subarray(0, length);
      this.#bytes = this.#bytes.subarray(length);
      return taken;
    };
    return until(
      `${length} bytes of RFB`,
      30_000,
      look,
      () => `${this.#bytes.length}; ${this.#socket.why()}`,
    );
  }
}

it("a viewer at the screen goes on at the target of a live migration: picture, keys, and no new handshake", async () => {
  const socket = await openSocket(admin, `${PATH("web")}/vnc`);
  const viewer = new Viewer(socket);
  // ZRLE is taken out of what it offers: its stream could not go on.
  expect(await viewer.greet([16, -223])).toBe(`${NS}/web`);
  viewer.ask(false);
  await viewer.until("the guest's text", () => viewer.lit > 100);
  expect(viewer.size).toBe("720 x 400");
  await estate.migrate("web");
  const { lit, updates } = viewer;
  const serial = await openSocket(admin, `${PATH("web")}/console?tailLines=0`);
  const text = textOf(serial);
  // The whole screen again, from there, without being asked.
  await viewer.until("an update from the target", () => viewer.updates > updates && viewer.lit >= lit);
  // Until the session is at the target a key may still go to the source, whose guest stands still for ever.
  await until("the key", 30_000, async () => {
    viewer.press("q".charCodeAt(0));
    return text().includes("kq") || undefined;
  });
  await viewer.until("the key's echo on the screen", () => viewer.lit > lit);
  serial.close();
  socket.close();
});

it("what is compressed by Tight can be unpacked on and on, although another QEMU packs it from the move on", async () => {
  const socket = await openSocket(admin, `${PATH("web")}/vnc`);
  const viewer = new Viewer(socket);
  await viewer.greet([7]);
  viewer.ask(false);
  await viewer.until("Tight", () => viewer.tight > 0);
  expect(viewer.restarts).toBe(0);
  await estate.migrate("web");
  await viewer.until("the target's Tight", () => viewer.restarts > 0);
  const { tight } = viewer;
  viewer.ask(false);
  await viewer.until("more of it", () => viewer.tight > tight);
  expect(viewer.restarts).toBe(1);
  socket.close();
});

const ticket = async (client: HttpClient, path: string): Promise<string> => {
  const answer = Object(await client.request({ method: "POST", path }));
  expect(answer).toMatchObject({ kind: "ConsoleTicket", apiVersion: "vireo.dev/v1" });
  expect(Date.parse(answer.expires) - Date.now()).toBeLessThanOrEqual(TTL_MS);
  return answer.ticket;
};
const nobody = (server: number) => estate.connect({}, server);
const by = (secret: string, path: string, server = 1) =>
  openSocket(nobody(server), `${path}?ticket=${secret}&tailLines=1`);

it("a ticket opens what it is for, once, at any control plane, and is in no log", async () => {
  const path = `${PATH("plain")}/console`;
  const good = await ticket(admin, path);
  // Not used up by what it is not for.
  await expect(by(good, `${PATH("web")}/console`)).rejects.toMatchObject({
    code: 401,
    message: /ticket is for something else/,
  });
  await expect(by(good, `${PATH("plain")}/vnc`)).rejects.toMatchObject({ code: 401 });
  await expect(
    nobody(0).request({ method: "GET", path: `${PATH("plain")}?ticket=${good}` }),
  ).rejects.toMatchObject({ code: 401 });
  // Two at once, at two control planes: one of them has it.
  const both = await Promise.allSettled([by(good, path, 0), by(good, path, 1)]);
  expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const opened = both.find((one) => one.status === "fulfilled")?.value;
  if (!opened) throw new Error("none");
  const text = textOf(opened);
  opened.stream.write("T");
  await heard("the echo", text, (said) => said.endsWith("T"));
  opened.close();
  await expect(by(good, path)).rejects.toMatchObject({ code: 401, message: /used already/ });
  const old = await ticket(admin, path);
  const end = Date.now() + TTL_MS;
  await until("the end of its time", 20_000, async () => Date.now() > end || undefined);
  await expect(by(old, path)).rejects.toMatchObject({ code: 401, message: /older than 30 s/ });
  const audit = readFileSync(join(auditFolder, "test.jsonl"), "utf8");
  expect(audit).toMatch(/"user":"admin"[^\n]*"verb":"GET","path":"[^"]*\/plain\/console","code":101/);
  expect(audit).toMatch(/"verb":"POST","path":"[^"]*\/plain\/console","code":201/);
  for (const secret of [good, old]) expect(audit + JSON.stringify(logged)).not.toContain(secret);
});

it("only whom a role lets in, and only as long as it does", async () => {
  const bind = (user: string, role: string) =>
    admin.create(RoleBinding, {
      metadata: { name: user, namespace: NS },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
      subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: user }],
    } as never);
  await bind("viewer", "view");
  await bind("editor", "edit");
  const as = (name: string) => estate.connect({ token: estate.pki.tokens.addUser({ name, groups: [] }) });
  const [viewer, editor] = [as("viewer"), as("editor")];
  for (const what of ["console", "vnc"]) {
    await expect(openSocket(viewer, `${PATH("web")}/${what}`)).rejects.toMatchObject({
      code: 403,
      message: new RegExp(`cannot create resource "virtualmachines/${what}"`),
    });
    await expect(ticket(viewer, `${PATH("web")}/${what}`)).rejects.toMatchObject({ code: 403 });
  }
  await expect(viewer.request({ method: "GET", path: `${PATH("web")}/screenshot` })).rejects.toMatchObject({
    code: 403,
  });
  const log = [];
  for await (const part of viewer.bytes(`${PATH("plain")}/log?tailLines=1`)) log.push(part);
  expect(Buffer.concat(log).length).toBeGreaterThan(0);
  await expect(openSocket(as("stranger"), `${PATH("web")}/console`)).rejects.toMatchObject({ code: 403 });
  await expect(openSocket(nobody(0), `${PATH("web")}/console`)).rejects.toMatchObject({ code: 401 });
  const session = await openSocket(editor, `${PATH("web")}/console`);
  textOf(session);
  const left = new Promise((resolve) => session.stream.once("end", resolve));
  await admin.delete(RoleBinding, { name: "editor", namespace: NS });
  await left;
  expect(session.why()).toMatch(/your right to this/);
});

it("an agent answers control planes alone, and is believed only as the host that it is", async () => {
  const { address } = estate.agents.get("a")?.listener ?? {};
  if (!address) throw new Error("a has no agent");
  const instance = (await estate.client.list(Instance, { namespace: NS })).items.find(
    ({ spec }) => spec.host === "a",
  );
  const path = `/machines/${instance?.metadata.uid}/log?tailLines=1`;
  expect((await new AgentLink(estate.pki).page({ host: "a", address }, path)).length).toBeGreaterThan(0);
  await expect(new AgentLink(estate.pki).page({ host: "b", address }, path)).rejects.toMatchObject({
    code: 503,
    message: /b.host.vireo/,
  });
  const as = async (user: string, groups: string[], pki = estate.pki) => {
    const credentials = await pki.clientCredentials(user, groups);
    const issuer = { ca: estate.pki.ca, clientCredentials: async () => credentials };
    return new AgentLink(issuer).page({ host: "a", address }, path);
  };
  await expect(as("admin", [ADMINS])).rejects.toThrow(/only control planes/);
  await expect(as("system:host:b", ["system:hosts"])).rejects.toThrow(/only control planes/);
  const foreign = await Pki.open(join(auditFolder, "foreign"));
  await expect(as("system:control-plane", [], foreign)).rejects.toThrow(/does not answer/);
});

it("vireo console, logs, screenshot and vnc", async () => {
  const kubeconfig = join(auditFolder, "kubeconfig");
  ensureAdminKubeconfig(estate.pki, kubeconfig, estate.servers[0]?.url ?? "");
  const vireo = (args: readonly string[], input?: string) =>
    run(join(ROOT, "vireo"), [...args, "--kubeconfig", kubeconfig], input === undefined ? {} : { input });
  const typed = await vireo(["console", "vm/plain", "--tail", "0"], "typed");
  expect(typed).toEqual({ code: 0, stdout: "typed", stderr: "" });
  const logs = await vireo(["logs", "vm/plain", "--tail", "1"]);
  expect(logs.stdout).toMatch(/typed$/);
  const file = join(auditFolder, "web.png");
  const shot = await vireo(["screenshot", "vm/web", "-o", file]);
  expect(shot.stdout, shot.stderr).toMatch(/the screen of vm\/web/);
  expect(readPng(readFileSync(file)).lit).toBeGreaterThan(100);
  const none = await vireo(["screenshot", "vm/plain"]);
  expect(none).toMatchObject({ code: 1, stderr: /no display .*set that to vga/ });
  const child = spawn(join(ROOT, "vireo"), ["vnc", "vm/web", "--kubeconfig", kubeconfig]);
  try {
    let said = "";
    child.stdout.on("data", (part: Buffer) => {
      said += part;
    });
    const port = await until("the address", 30_000, async () => /vnc:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
    for (let i = 0; i < 2; i++) {
      const viewer = connect(Number(port), "127.0.0.1");
      let heard = "";
      viewer.on("data", (part: Buffer) => {
        heard += part.toString("latin1");
      });
      await until("the server's version", 30_000, async () => heard.startsWith("RFB 003.008\n") || undefined);
      viewer.destroy();
    }
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT");
    expect(await ended).toBe(0);
  } finally {
    child.kill("SIGKILL");
  }
});
