/** `vireo console`, `vnc`, `screenshot`, `logs`: a machine's consoles, by the subresources of the API. */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { openSocket } from "../client/websocket.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import { type MachineOptions, machineOf } from "./machine-actions.ts";
import { missing } from "./missing.ts";
import { pathTo, type Session } from "./resources.ts";
import { UserError } from "./user-error.ts";

type Options = Omit<MachineOptions, "timeoutMs">;
type Print = (line: string) => void;

/** Control and ]: what telnet and virsh console have. */
const ESCAPE = 0x1d;

const SILENCE_MS = 1000;

const LOCAL = "127.0.0.1";

async function open(options: Options): Promise<{ session: Session; path: string; name: string }> {
  const { session, vm: name, kind, namespace } = await machineOf(options);
  const isThere = await session.client.get(VirtualMachine, { name, namespace }).then(
    (vm) => vm !== undefined,
    (error: unknown) => {
      // Who may be at a machine's console need not be one who may read it.
      if (isApiError(error, "Forbidden")) return true;
      throw error;
    },
  );
  if (!isThere) throw missing("machine", name, namespace);
  return { session, path: pathTo(session, { kind, name }), name };
}

/** Until ^] is typed, standard input ends, or the machine does. */
export async function console(options: Options & { tail: number }, say: Print): Promise<void> {
  const { session, path, name } = await open(options);
  const { stream, why, code, close } = await openSocket(
    session.client,
    `${path}/console?tailLines=${options.tail}`,
  );
  const { stdin, stdout } = process;
  const isTerminal = stdin.isTTY === true;
  if (isTerminal) say(`console of vm/${name}; ^] leaves`);
  const raw = (on: boolean) => {
    if (isTerminal) stdin.setRawMode(on);
  };
  let left = false;
  const leave = () => {
    left = true;
    close();
  };
  raw(true);
  try {
    stdin.on("data", (bytes: Buffer) => {
      const at = isTerminal ? bytes.indexOf(ESCAPE) : -1;
      const typed = at < 0 ? bytes : bytes.subarray(0, at);
      if (typed.length > 0 && !stream.write(typed)) {
        stdin.pause();
        stream.once("drain", () => stdin.resume());
      }
      if (at >= 0) leave();
    });
    // A pipe that has ended has said all; what the guest answers still comes, until it is silent.
    let silence: NodeJS.Timeout | undefined;
    if (!isTerminal)
      stdin.once("end", () => {
        silence = setTimeout(leave, SILENCE_MS);
      });
    options.signal.addEventListener("abort", leave, { once: true });
    for await (const bytes of stream) {
      silence?.refresh();
      if (!stdout.write(bytes)) await once(stdout, "drain");
    }
    clearTimeout(silence);
  } catch (error) {
    if (!left) throw error;
  } finally {
    raw(false);
    stdin.destroy();
  }
  if (isTerminal) say("");
  if (!left && code() !== 1000)
    throw new UserError(`vm/${name}: the connection ended${why() && `: ${why()}`}`);
  if (!left) say(`vm/${name}: ${why()}`);
}

/** A local port for VNC viewers, until the signal aborts. */
export async function vnc(options: Options & { port: number }, print: Print): Promise<void> {
  const { session, path, name } = await open(options);
  // Before anybody is told an address: whether it has a screen, and may be seen.
  (await openSocket(session.client, `${path}/vnc`)).close();
  const serve = async (viewer: Socket) => {
    viewer.on("error", () => {});
    const socket = await openSocket(session.client, `${path}/vnc`);
    if (viewer.destroyed) return socket.close();
    const { stream } = socket;
    viewer.pipe(stream);
    stream.pipe(viewer);
    viewer.once("close", () => socket.close());
    stream.once("end", () => {
      if (!viewer.destroyed) print(`vm/${name}: ${socket.why() || "the connection ended"}`);
    });
  };
  const viewers = new Set<Socket>();
  const server = createServer((viewer) => {
    viewers.add(viewer);
    viewer.once("close", () => viewers.delete(viewer));
    serve(viewer).catch((error: unknown) => {
      print(`vm/${name}: ${error instanceof Error ? error.message : error}`);
      viewer.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === "EADDRINUSE"
          ? new UserError(`--port ${options.port}: something else listens there; leave it out for a free one`)
          : cause,
      ),
    );
    server.listen(options.port, LOCAL, resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : options.port;
  print(
    `screen of vm/${name}: vnc://${LOCAL}:${port} for any VNC viewer on this machine, no password; Ctrl-C ends it`,
  );
  if (!options.signal.aborted) await once(options.signal, "abort");
  server.close();
  for (const viewer of viewers) viewer.destroy();
}

/** Writes the PNG, to standard output for "-". */
export async function screenshot(options: Options & { output?: string }, print: Print): Promise<void> {
  const { session, path, name } = await open(options);
  const parts: Buffer[] = [];
  for await (const part of session.client.bytes(`${path}/screenshot`)) parts.push(part);
  const picture = Buffer.concat(parts);
  const file = options.output ?? `${name}.png`;
  if (file === "-") {
    if (!process.stdout.write(picture)) await once(process.stdout, "drain");
    return;
  }
  writeFileSync(file, picture);
  print(`${file}: the screen of vm/${name}, ${picture.length} bytes of PNG`);
}

/** What the guest has said on its serial port. */
export async function logs(options: Options & { tail: number; follow: boolean }): Promise<void> {
  const { session, path } = await open(options);
  const query = `tailLines=${options.tail}${options.follow ? "&follow=true" : ""}`;
  for await (const bytes of session.client.bytes(`${path}/log?${query}`, options.signal))
    if (!process.stdout.write(bytes)) await once(process.stdout, "drain");
}
