import { expect, it } from "vitest";
import { Places } from "./places.ts";

it("lets so many in at once, the others in turn, and who gives up waits no more", async () => {
  const places = new Places(2);
  const entered: string[] = [];
  const enter = (name: string, signal?: AbortSignal) =>
    places.take(signal).then((back) => {
      entered.push(name);
      return back;
    });
  const [a, b] = await Promise.all([enter("a"), enter("b")]);
  const gone = new AbortController();
  const [c, d, e] = [enter("c"), enter("d", gone.signal), enter("e")];
  gone.abort(new Error("gave up"));
  await expect(d).rejects.toThrow("gave up");
  expect(entered).toEqual(["a", "b"]);
  a();
  a();
  await c;
  expect(entered).toEqual(["a", "b", "c"]);
  b();
  await e;
  expect(entered).toEqual(["a", "b", "c", "e"]);
  await expect(enter("f", gone.signal)).rejects.toThrow("gave up");
});
