/** Wake-on-LAN's magic packet, to the broadcast address of a network that this machine is in. */
import { createSocket } from "node:dgram";

/** A packet may get lost. */
const TIMES = 3;

/** Six bytes of ones, and sixteen times the address. */
export function magicPacket(mac: string): Buffer {
  const address = Buffer.from(mac.replaceAll(":", ""), "hex");
  return Buffer.concat([Buffer.alloc(6, 0xff), ...Array.from({ length: 16 }, () => address)]);
}

/** Over UDP. @throws Error of Node's, when nothing could be sent there */
export async function sendMagicPacket(to: { mac: string; address: string; port: number }): Promise<void> {
  const socket = createSocket("udp4");
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(0, resolve);
    });
    socket.setBroadcast(true);
    for (let i = 0; i < TIMES; i++)
      await new Promise<void>((resolve, reject) =>
        socket.send(magicPacket(to.mac), to.port, to.address, (error) => (error ? reject(error) : resolve())),
      );
  } finally {
    socket.close();
  }
}
