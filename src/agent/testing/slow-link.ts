/** A network between two hypervisors that is slow, or lets nothing through: a proxy before the address that a target listens at. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export class SlowLink {
  /** Bytes per second from now on; 0: nothing gets on, and nobody is told. */
  speed: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(to: string, speed: number) {
    this.speed = speed;
    const port = Number(to.slice(to.lastIndexOf(":") + 1));
    this.#server = createServer((from) => {
      const onward = connect(port, "127.0.0.1");
      for (const socket of [from, onward]) {
        this.#sockets.add(socket);
        socket.on("error", () => this.close());
        socket.on("close", () => this.close());
      }
      onward.pipe(from);
      this.#carry(from, onward).catch(() => this.close());
    });
  }

  /** @param to "tcp:127.0.0.1:PORT" */
  static async open(to: string, speed: number): Promise<SlowLink> {
    const link = new SlowLink(to, speed);
    await new Promise<void>((resolve) => link.#server.listen(0, "127.0.0.1", resolve));
    return link;
  }

  /** As `to`, for who sends. */
  get address(): string {
    const at = this.#server.address();
    return `tcp:127.0.0.1:${typeof at === "object" ? at?.port : ""}`;
  }

  async #carry(from: Socket, onward: Socket): Promise<void> {
    for await (const chunk of from) {
      while (this.speed === 0 && !from.destroyed) await sleep(50);
      if (from.destroyed) return;
      onward.write(chunk);
      await sleep((1000 * chunk.length) / this.speed);
    }
    onward.end();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
