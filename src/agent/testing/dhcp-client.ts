/**
 * A DHCP client for tests, run as a program in a network namespace: `node dhcp-client.ts MAC` asks for an address as the machine with this MAC,
 * takes the one that is offered, prints it and ends; "none" after 1.5 s without an answer. RFC 2131, RFC 2132.
 */
import { createSocket } from "node:dgram";

const [DISCOVER, OFFER, REQUEST, ACK] = [1, 2, 3, 5];
const mac = Buffer.from((process.argv[2] ?? "").replaceAll(":", ""), "hex");

function message(type: number, more: readonly number[] = []): Buffer {
  const head = Buffer.alloc(236);
  head.set([1, 1, 6, 0, 0x76, 0x69, 0x72, 0x65]); // BOOTREQUEST, Ethernet, transaction id
  head.set([0x80, 0], 10); // answers to everybody: this host has no address yet
  head.set(mac, 28);
  const cookie = [99, 130, 83, 99];
  return Buffer.concat([head, Buffer.from([...cookie, 53, 1, type, 61, 7, 1, ...mac, ...more, 255])]);
}

/** Value of an option of an answer. */
function option(answer: Buffer, wanted: number): Buffer | undefined {
  for (let at = 240; at < answer.length && answer[at] !== 255; at += 2 + (answer[at + 1] ?? 0))
    if (answer[at] === wanted) return answer.subarray(at + 2, at + 2 + (answer[at + 1] ?? 0));
  return undefined;
}

const socket = createSocket("udp4");
const end = (text: string) => {
  process.stdout.write(`${text}\n`);
  socket.close();
  clearTimeout(timer);
  clearInterval(again);
};
const timer = setTimeout(() => end("none"), 1500);
// The link may have just come up.
const again = setInterval(() => send(message(DISCOVER ?? 1)), 300);
const send = (bytes: Buffer) => socket.send(bytes, 67, "255.255.255.255");
socket.on("message", (answer) => {
  if (!answer.subarray(28, 34).equals(mac)) return;
  const address = answer.subarray(16, 20);
  const type = option(answer, 53)?.[0];
  const server = option(answer, 54);
  if (type === OFFER && server) send(message(REQUEST ?? 3, [50, 4, ...address, 54, 4, ...server]));
  if (type === ACK) end(address.join("."));
});
socket.bind(68, () => {
  socket.setBroadcast(true);
  send(message(DISCOVER ?? 1));
});
