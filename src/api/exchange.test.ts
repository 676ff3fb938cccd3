/** How answers are written. */
import { Agent, createServer, get, ServerResponse } from "node:http";
import { queryObjects } from "node:v8";
import { expect, it } from "vitest";
import { warningHeaders, whenOver } from "./exchange.ts";

it("warnings say when they are cut, and how many more there are", () => {
  expect(warningHeaders(['a "b"', "rule (x…) – y"])).toEqual([
    '299 - "a \\"b\\""',
    '299 - "rule (x...) ? y"',
  ]);
  expect(warningHeaders(["x".repeat(300)])).toEqual([`299 - "${"x".repeat(300)}"`]);
  expect(warningHeaders(["x".repeat(301)])).toEqual([`299 - "${"x".repeat(297)}..."`]);
  const many = Array.from({ length: 23 }, (_, i) => `${i}`);
  expect(warningHeaders(many.slice(0, 20)).at(-1)).toBe('299 - "19"');
  expect(warningHeaders(many).slice(19)).toEqual(['299 - "19"', '299 - "and 3 more"']);
});

it("a connection that is kept for later holds nothing of the requests that were answered on it", async () => {
  const overs: AbortSignal[] = [];
  const server = createServer((request, response) => {
    overs.push(whenOver(request, response));
    response.end("answer");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = () =>
    new Promise<void>((resolve, reject) => {
      get({ port, agent, host: "127.0.0.1" }, (answer) => answer.resume().once("end", resolve)).once(
        "error",
        reject,
      );
    });
  try {
    await ask();
    await expect.poll(() => overs[0]?.aborted).toBe(true);
    await expect.poll(() => queryObjects(ServerResponse)).toBe(0);
    await ask();
    await expect.poll(() => overs[1]?.aborted).toBe(true);
    await expect.poll(() => queryObjects(ServerResponse)).toBe(0);
    expect(Object.values(agent.freeSockets).flat()).toHaveLength(1);
  } finally {
    agent.destroy();
    server.close();
  }
});
