/** A password from whoever runs the command: never an argument, which everybody sees in the list of processes. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { UserError } from "./user-error.ts";

/** Asked for twice at a terminal, without showing it; else one line of standard input. @throws UserError when there is none */
export async function readPassword(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: silent, terminal: stdin.isTTY === true });
  const ask = async (question: string): Promise<string> => {
    if (!stdin.isTTY) return (await lines[Symbol.asyncIterator]().next()).value ?? "";
    stderr.write(question);
    const answer = await lines.question("");
    stderr.write("\n");
    return answer;
  };
  try {
    const password = await ask(prompt);
    if (password === "") throw new UserError("no password: type it, or hand it over by standard input");
    if (stdin.isTTY && (await ask("once more: ")) !== password)
      throw new UserError("that was not twice the same; nothing was changed");
    return password;
  } finally {
    lines.close();
  }
}
