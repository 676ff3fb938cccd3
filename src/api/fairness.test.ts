import { request } from "node:https";
import { describe, expect, it } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { Fairness } from "./fairness.ts";
import { startApiStack } from "./testing/stack.ts";

/** Enters and notes it; seats are given back by hand. */
function play(fairness: Fairness) {
  const inside: string[] = [];
  const leaves = new Map<string, () => void>();
  const enter = (name: string, user: string, width = 1) =>
    void fairness.enter(user, width).then((leave) => {
      inside.push(name);
      leaves.set(name, leave);
    });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const leave = async (name: string) => {
    leaves.get(name)?.();
    await settle();
  };
  return { inside, enter, leave, settle };
}

describe("seats", () => {
  it("go to users in turn, however many of one are waiting", async () => {
    const { inside, enter, leave, settle } = play(new Fairness({ total: 2, each: 2 }));
    for (let i = 0; i < 50; i++) enter(`flood-${i}`, "flood");
    enter("a", "polite-a");
    enter("b", "polite-b");
    await settle();
    expect(inside).toEqual(["flood-0", "flood-1"]);
    await leave("flood-0");
    await leave("flood-1");
    await leave("a");
    // Fifty were waiting before them, and each had its turn within three.
    expect(inside.slice(2)).toEqual(["a", "flood-2", "b"]);
  });

  it("are never all one user's", async () => {
    const { inside, enter, settle } = play(new Fairness({ total: 10, each: 4 }));
    for (let i = 0; i < 20; i++) enter(`flood-${i}`, "flood");
    enter("a", "polite");
    await settle();
    expect(inside).toHaveLength(5);
    expect(inside).toContain("a");
  });

  it("of wide requests count more, and a wide one is not passed by for ever", async () => {
    const { inside, enter, leave, settle } = play(new Fairness({ total: 4, each: 4 }));
    enter("n1", "x");
    enter("wide", "y", 4);
    enter("n2", "z");
    await settle();
    expect(inside).toEqual(["n1"]);
    await leave("n1");
    expect(inside).toEqual(["n1", "wide"]);
    await leave("wide");
    expect(inside).toEqual(["n1", "wide", "n2"]);
  });

  it("given back twice count once", async () => {
    const { inside, enter, leave, settle } = play(new Fairness({ total: 1, each: 1 }));
    for (const name of ["a", "b", "c"]) enter(name, name);
    await settle();
    await leave("a");
    await leave("a");
    expect(inside).toEqual(["a", "b"]);
  });

  it("are refused to who has too many waiting, and only to him", async () => {
    const fairness = new Fairness({ total: 1, each: 1, waiting: 3 });
    const { enter, settle } = play(fairness);
    for (let i = 0; i < 4; i++) enter(`flood-${i}`, "flood");
    await settle();
    expect(() => fairness.enter("flood")).toThrow(
      "too many requests of flood at once: 3 are waiting already",
    );
    expect(() => fairness.enter("polite")).not.toThrow();
  });
});

it("a client that begins many requests and ends none is told to come later, others are answered meanwhile", async () => {
  await using stack = await startApiStack({ fairness: { total: 4, each: 2, waiting: 5 } });
  const token = stack.pki.tokens.addUser({ name: "flood", groups: ["system:masters"] });
  const codes: number[] = [];
  const slow = Array.from({ length: 12 }, () => {
    const path = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
    const headers = {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "content-length": 100,
    };
    const sent = request({
      port: stack.server.port,
      ca: stack.pki.ca,
      method: "POST",
      path,
      headers,
      agent: false,
    });
    sent.on("response", (response) => codes.push(response.statusCode ?? 0));
    sent.on("error", () => {});
    sent.flushHeaders();
    return sent;
  });
  await expect.poll(() => codes.length, { timeout: 10_000 }).toBe(5);
  expect(new Set(codes)).toEqual(new Set([429]));
  const polite = stack.admin();
  for (let i = 0; i < 5; i++) await polite.list(VirtualMachine);
  for (const sent of slow) sent.destroy();
});
