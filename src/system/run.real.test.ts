import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeError } from "../reconcile/log.ts";
import { CommandError, outcomeOf, run } from "./run.ts";

const failure = (command: string, args: string[], timeoutMs = 5000) =>
  run(command, args, { timeoutMs }).then(
    () => undefined,
    (error: unknown) => error,
  );

it("tells users which program failed and what it said; the command line is for operators", async () => {
  const error = await failure("sh", ["-c", "echo no such pool >&2; exit 3", "/secret/path"]);
  expect(error).toBeInstanceOf(CommandError);
  expect(error).toMatchObject({ message: "sh: no such pool" });
  expect(describeError(error)).toContain("/secret/path");
});

it("says how it ended when it said nothing", async () => {
  expect(await failure("sh", ["-c", "exit 3"])).toMatchObject({ message: "sh: ended with code 3" });
  expect(await failure("sh", ["-c", "kill -9 $$"])).toMatchObject({ message: "sh: ended by SIGKILL" });
  expect(await failure("sleep", ["10"], 20)).toMatchObject({ message: "sleep: did not end within 0.02 s" });
  expect(await failure("vireo-no-such-program", [])).toMatchObject({
    message: "vireo-no-such-program: is not installed",
    missing: true,
  });
});

it("what a program says that fails can be asked for; one that is missing or is ended has no outcome", async () => {
  expect(await outcomeOf("sh", ["-c", "echo yes; echo aside >&2"])).toEqual({ said: "yes\n", ok: true });
  expect(await outcomeOf("sh", ["-c", "echo no; echo why >&2; exit 1"])).toEqual({
    said: "no\nwhy\n",
    ok: false,
  });
  await expect(outcomeOf("vireo-no-such-program", [])).rejects.toMatchObject({ missing: true });
  await expect(outcomeOf("sh", ["-c", "kill -9 $$"])).rejects.toMatchObject({
    message: "sh: ended by SIGKILL",
  });
});

it("who is told that it was ended may take away what it worked on: it has ended then", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-run-"));
  const controller = new AbortController();
  const [begun, over] = [join(folder, "begun"), join(folder, "over")];
  // What it does at its end takes a while.
  const script = `trap 'sleep 0.3; : > ${over}; exit 1' TERM; : > ${begun}; while :; do sleep 0.05; done`;
  const ended = run("sh", ["-c", script], { signal: controller.signal });
  await expect.poll(() => existsSync(begun), { timeout: 10_000 }).toBe(true);
  controller.abort(new Error("enough"));
  await expect(ended).rejects.toThrow("enough");
  expect(existsSync(over)).toBe(true);
  rmSync(folder, { recursive: true });
});
