import { expect, it } from "vitest";
import { describeError } from "../reconcile/log.ts";
import { CommandError, run } from "./run.ts";

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
  });
});
