/**
 * A player of Quake III Arena's network protocol (68; OpenArena calls it 71), as far as a server needs to keep sending: it connects and
 * notes when each packet of the game came. It does not play, so what is in them does not matter.
 *
 *   getchallenge -> challengeResponse N -> connect "\protocol\71\challenge\N…" (adaptive Huffman code) -> connectResponse -> snapshots
 *
 * Source: the protocol's public descriptions and what the server of Debian's package answers.
 */
import { createSocket, type Socket } from "node:dgram";

interface Node {
  weight: number;
  symbol?: number;
  parent?: Node;
  left?: Node;
  right?: Node;
}

/** The adaptive Huffman code FGK (Knuth, "Dynamic Huffman Coding", 1985) with bits of a byte from the lowest on, after the length in two bytes. */
export function compress(data: Buffer): Buffer {
  const unseen: Node = { weight: 0 };
  /** By rising weight; siblings are neighbours. */
  const order: Node[] = [unseen];
  const leaves = new Map<number, Node>();
  const bits: number[] = [];

  const swapInOrder = (a: Node, b: Node) => {
    const [i, j] = [order.indexOf(a), order.indexOf(b)];
    [order[i], order[j]] = [b, a];
  };
  const swapInTree = (a: Node, b: Node) => {
    const [above, below] = [a.parent, b.parent];
    const [isLeft, wasLeft] = [above?.left === a, below?.left === b];
    if (above) above[isLeft ? "left" : "right"] = b;
    if (below) below[wasLeft ? "left" : "right"] = a;
    if (below) a.parent = below;
    else delete a.parent;
    if (above) b.parent = above;
    else delete b.parent;
  };
  const increment = (node: Node | undefined) => {
    if (!node) return;
    const leader = order.findLast(({ weight }) => weight === node.weight);
    if (leader && leader !== node) {
      if (leader !== node.parent) swapInTree(leader, node);
      swapInOrder(leader, node);
    }
    node.weight += 1;
    increment(node.parent);
    if (node.parent && order[order.indexOf(node) - 1] === node.parent) swapInOrder(node, node.parent);
  };
  const path = (node: Node): number[] =>
    node.parent ? [...path(node.parent), node.parent.right === node ? 1 : 0] : [];

  for (const byte of data) {
    const known = leaves.get(byte);
    if (known) {
      bits.push(...path(known));
      increment(known);
      continue;
    }
    bits.push(...path(unseen), ...[7, 6, 5, 4, 3, 2, 1, 0].map((bit) => (byte >> bit) & 1));
    const inner: Node = { weight: 1, left: unseen };
    const leaf: Node = { weight: 1, symbol: byte, parent: inner };
    inner.right = leaf;
    if (unseen.parent) {
      inner.parent = unseen.parent;
      unseen.parent[unseen.parent.left === unseen ? "left" : "right"] = inner;
    }
    unseen.parent = inner;
    order.splice(1, 0, leaf, inner);
    leaves.set(byte, leaf);
    increment(inner.parent);
  }
  const out = Buffer.alloc(3 + Math.floor(bits.length / 8));
  out.writeUInt16BE(data.length, 0);
  for (const [i, bit] of bits.entries()) {
    const at = 2 + (i >> 3);
    out[at] = (out[at] ?? 0) | (bit << (i & 7));
  }
  return out;
}

/** Of the form that servers ask for. */
const GUID = "0123456789ABCDEF".repeat(2);
const OUT_OF_BAND = Buffer.from([255, 255, 255, 255]);

export class Player {
  /** Milliseconds of performance.now() at which packets of the game came. */
  readonly packets: number[] = [];
  readonly #socket: Socket;
  readonly #server: { address: string; port: number };

  private constructor(server: { address: string; port: number }) {
    this.#server = server;
    this.#socket = createSocket({ type: "udp4", recvBufferSize: 2 ** 20 });
  }

  /** @param snaps packets a second that are asked for; the server gives as many as it has frames. @throws Error when it does not answer in time */
  static async connect(
    server: { address: string; port: number },
    snaps: number,
    timeoutMs: number,
  ): Promise<Player> {
    const player = new Player(server);
    const [, challenge] = (
      await player.#ask("challengeResponse", timeoutMs, () => Buffer.from("getchallenge"))
    ).split(" ");
    const info = { protocol: 71, qport: 4711, challenge, name: "bench", rate: 99999, snaps, cl_guid: GUID };
    const text = Object.entries(info).map(([key, value]) => `\\${key}\\${value}`);
    const packet = Buffer.concat([Buffer.from("connect "), compress(Buffer.from(`"${text.join("")}"`))]);
    await player.#ask("connectResponse", timeoutMs, () => packet);
    return player;
  }

  close(): void {
    this.#socket.close();
  }

  async #ask(answer: string, timeoutMs: number, packet: () => Buffer): Promise<string> {
    const { address, port } = this.#server;
    const send = () => this.#socket.send(Buffer.concat([OUT_OF_BAND, packet()]), port, address);
    return new Promise((resolve, reject) => {
      let said = "nothing";
      const again = setInterval(send, 500);
      const limit = setTimeout(
        () => end(new Error(`no ${answer} within ${timeoutMs} ms; it said ${said}`)),
        timeoutMs,
      );
      const end = (result: string | Error) => {
        clearInterval(again);
        clearTimeout(limit);
        this.#socket.off("message", listen);
        if (typeof result === "string") {
          this.#socket.on("message", (data) => this.#note(data));
          resolve(result);
        } else reject(result);
      };
      const listen = (data: Buffer) => {
        if (!data.subarray(0, 4).equals(OUT_OF_BAND)) return;
        said = data.subarray(4).toString("latin1");
        if (said.startsWith(answer)) end(said);
      };
      this.#socket.on("message", listen);
      send();
    });
  }

  #note(data: Buffer): void {
    if (!data.subarray(0, 4).equals(OUT_OF_BAND)) this.packets.push(performance.now());
  }
}
