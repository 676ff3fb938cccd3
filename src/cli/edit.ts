/** `vireo edit`: an object in the user's editor; only what was changed there is sent. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiError, isApiError } from "../resource/errors.ts";
import { mergePatchOf } from "../resource/merge-patch.ts";
import { parseDocuments } from "./manifest.ts";
import { toYaml, withoutManagedFields } from "./output.ts";
import { openSession, type Place, parseNames, pathTo, query, readNamed } from "./resources.ts";
import { UserError } from "./user-error.ts";

const COMMENT =
  "# Lines that begin with # are ignored; leave without a change to leave the object as it is.\n";

/** @throws UserError; what was written is kept in a file when it could not be applied */
export async function edit(
  words: readonly string[],
  place: Place,
  print: (line: string) => void,
): Promise<void> {
  const session = await openSession(place);
  const [named, ...more] = parseNames(session.kinds, words);
  if (!named?.name || more.length > 0) throw new UserError("edit needs one object, for example vm/web-1");
  const { kind, name } = named;
  const before = withoutManagedFields(await readNamed(session, { kind, name }));
  const folder = mkdtempSync(join(tmpdir(), "vireo-edit-"));
  const file = join(folder, `${kind.singular}-${name}.yaml`);
  // Secrets may be in it: only this user may read it.
  const write = (text: string) => writeFileSync(file, text, { mode: 0o600 });
  const send = async (text: string): Promise<"unchanged" | "edited"> => {
    const [document, ...others] = parseDocuments(text, file);
    if (!document || others.length > 0) throw new UserError(`${file}: must hold one object`);
    const { object } = document;
    if (
      object.kind !== before.kind ||
      object.metadata.name !== name ||
      object.apiVersion !== before.apiVersion
    )
      throw new UserError(`${file}: kind, apiVersion and metadata.name cannot be changed`);
    const patch = mergePatchOf(before, object);
    if (Object.keys(patch).length === 0) return "unchanged";
    await session.client.request({
      method: "PATCH",
      path: `${pathTo(session, named, before.metadata.namespace)}${query({ fieldManager: "vireo-cli", fieldValidation: "Strict" })}`,
      body: patch,
      contentType: "application/merge-patch+json",
    });
    return "edited";
  };

  write(COMMENT + toYaml(before));
  for (let refused: string | undefined; ; ) {
    await runEditor(file);
    const text = readFileSync(file, "utf8");
    // Left as it was refused: the user gives up.
    const written = withoutComments(text);
    if (written === refused) throw new UserError(`nothing was changed; what you wrote is kept in ${file}`);
    try {
      print(`${kind.singular}/${name} ${await send(text)}`);
      rmSync(folder, { recursive: true, force: true });
      return;
    } catch (error) {
      const isOurs = error instanceof UserError || error instanceof ApiError;
      if (!isOurs || isApiError(error, "ServiceUnavailable", "Timeout", "Forbidden", "Unauthorized"))
        throw new UserError(
          `${error instanceof Error ? error.message : error}\nwhat you wrote is kept in ${file}`,
          { cause: error },
        );
      const why = error.message.split("\n").map((line) => `# ${line}\n`);
      write(`${COMMENT}# It was refused:\n${why.join("")}${written}`);
      refused = written;
    }
  }
}

/** Without the lines that begin with #: within an object's texts none can, they are indented. */
const withoutComments = (text: string) =>
  text
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .join("\n");

function runEditor(file: string): Promise<void> {
  const { KUBE_EDITOR, VISUAL, EDITOR } = process.env;
  const editor = KUBE_EDITOR || VISUAL || EDITOR || "vi";
  return new Promise((resolve, reject) => {
    // A shell, because $EDITOR may hold options ("code --wait"); the file is given as a parameter, never as text of it.
    const child = spawn("/bin/sh", ["-c", `${editor} "$1"`, "sh", file], { stdio: "inherit" });
    child.on("error", reject);
    child.on("exit", (code) =>
      code === 0
        ? resolve()
        : reject(
            new UserError(
              `the editor (${editor}) ended with ${code}; nothing was changed. $EDITOR names another`,
            ),
          ),
    );
  });
}
