/** A viewer's session at pretended QEMUs: what the viewer does wrong ends it, and is told. */
import { type Duplex, duplexPair } from "node:stream";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { greetServer, greetViewer, serverInit } from "./rfb/handshake.ts";
import { ProtocolError } from "./rfb/parse.ts";
import { VncSession } from "./vnc-session.ts";

const RUN = { uid: "1", host: "a", address: "" };
const FORMAT = Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
let viewer: Duplex;
let session: VncSession;

/** At a QEMU that has greeted it. @returns how it ends */
const attend = () => {
  const [socket, qemu] = duplexPair();
  void greetViewer(qemu).then(() =>
    qemu.write(serverInit({ width: 640, height: 480, format: FORMAT }, "QEMU")),
  );
  const never = new AbortController().signal;
  const attended = session.attend({ socket }, RUN, { moved: never, over: never });
  return {
    qemu,
    ended: attended.then(
      () => "cut off",
      (error: unknown) => error,
    ),
  };
};

beforeEach(() => {
  const [near, far] = duplexPair();
  viewer = far;
  session = new VncSession(near, "default/web");
});
afterEach(() => {
  vi.useRealTimers();
});

it("a viewer that says nothing is given up, and not greeted again", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { ended } = attend();
  await vi.waitFor(() => expect(viewer.readableLength).toBe(12), 15_000);
  vi.advanceTimersByTime(30_000);
  expect(await ended).toEqual(new ProtocolError("the viewer did not answer in time"));
  expect(await ended).toBeInstanceOf(ProtocolError);
  expect(String(viewer.read())).toBe("RFB 003.008\n");
});

it("what a viewer says wrong is why its session ends, also when it says so between two runs", async () => {
  const first = attend();
  await greetServer(viewer);
  viewer.write(Buffer.from([77]));
  expect(await first.ended).toBeInstanceOf(ProtocolError);
  expect(await first.ended).toMatchObject({ message: expect.stringMatching(/type 77/) });

  const [near, far] = duplexPair();
  session = new VncSession(near, "default/web");
  const second = attend();
  await greetServer(far);
  second.qemu.destroy();
  expect(await second.ended).toBe("cut off");
  far.write(Buffer.from([78]));
  await vi.waitFor(() => expect(near.readableLength + near.writableLength).toBe(0), 15_000);
  expect(await attend().ended).toMatchObject({ message: expect.stringMatching(/type 78/) });
});
