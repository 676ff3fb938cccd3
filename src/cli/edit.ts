/** `vireo edit`: an object in the user's editor; only what was changed there is sent. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mergePatch } from "../api/patch.ts";
import { ApiError, isApiError } from "../resource/errors.ts";
import { type Fields, isFields } from "../resource/fields.ts";
import { collide, mergePatchOf } from "../resource/merge-patch.ts";
import type { Resource } from "../resource/object.ts";
import { parseDocuments } from "./manifest.ts";
import { toYaml, withoutManagedFields } from "./output.ts";
import {
  type Named,
  openSession,
  type Place,
  parseNames,
  pathTo,
  query,
  readNamed,
  type Session,
} from "./resources.ts";
import { UserError } from "./user-error.ts";

const COMMENT =
  "# Lines that begin with # are ignored; leave without a change to leave the object as it is.\n";

const OVERTAKEN = `# Somebody has changed the same meanwhile. Below is the object as it is now, with what you wrote in the place of theirs:
# change it so that both are in it; leave it as it is to change nothing. They wrote:
`;
const comment = (text: string) =>
  text
    .split("\n")
    .map((line) => `# ${line}\n`)
    .join("");

/** Its status changes all the time. */
const TRIES = 5;

/** What of it is written by whoever changes it. */
function written({ status: _, metadata, ...object }: Resource): object {
  const { resourceVersion: _version, generation: _generation, ...of } = metadata;
  return { ...object, metadata: of };
}

/**
 * Sends what the user wants changed of `before`. What others have changed elsewhere in it meanwhile stays.
 * @returns where they have changed the same, and nothing was changed: how it is now, and what they have changed, as a merge patch
 */
async function send(
  session: Session,
  at: Named & { name: string },
  before: Resource,
  patch: Fields,
): Promise<{ now: Resource; theirs: Fields } | undefined> {
  const path = `${pathTo(session, at, before.metadata.namespace)}${query({ fieldManager: "vireo-cli", fieldValidation: "Strict" })}`;
  const metadata = isFields(patch.metadata) ? patch.metadata : {};
  let { resourceVersion } = before.metadata;
  for (let tries = 1; ; tries++) {
    try {
      const body = { ...patch, metadata: { ...metadata, resourceVersion } };
      await session.client.request({
        method: "PATCH",
        path,
        body,
        contentType: "application/merge-patch+json",
      });
      return undefined;
    } catch (error) {
      if (!isApiError(error, "Conflict") || tries === TRIES) throw error;
    }
    const now = withoutManagedFields(await readNamed(session, at));
    if (now.metadata.uid !== before.metadata.uid)
      throw new UserError("it was deleted meanwhile, and another one was made by its name");
    const theirs = mergePatchOf(written(before), written(now));
    if (collide(patch, theirs)) return { now, theirs };
    resourceVersion = now.metadata.resourceVersion;
  }
}

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
  let before = withoutManagedFields(await readNamed(session, { kind, name }));
  const folder = mkdtempSync(join(tmpdir(), "vireo-edit-"));
  const file = join(folder, `${kind.singular}-${name}.yaml`);
  // Secrets may be in it: only this user may read it.
  const write = (text: string) => writeFileSync(file, text, { mode: 0o600 });
  const patchOf = (text: string): Fields => {
    const [document, ...others] = parseDocuments(text, file);
    if (!document || others.length > 0) throw new UserError(`${file}: must hold one object`);
    const { object } = document;
    if (
      object.kind !== before.kind ||
      object.metadata.name !== name ||
      object.apiVersion !== before.apiVersion
    )
      throw new UserError(`${file}: kind, apiVersion and metadata.name cannot be changed`);
    return mergePatchOf(before, object);
  };

  write(COMMENT + toYaml(before));
  for (let refused: string | undefined; ; ) {
    await runEditor(file);
    const text = readFileSync(file, "utf8");
    // Left as it was refused: the user gives up.
    const wanted = withoutComments(text);
    if (wanted === refused) throw new UserError(`nothing was changed; what you wrote is kept in ${file}`);
    try {
      const patch = patchOf(text);
      const isChanged = Object.keys(patch).length > 0;
      const overtaken = isChanged ? await send(session, { kind, name }, before, patch) : undefined;
      if (!overtaken) {
        print(`${kind.singular}/${name} ${isChanged ? "edited" : "unchanged"}`);
        rmSync(folder, { recursive: true, force: true });
        return;
      }
      const { now, theirs } = overtaken;
      before = now;
      refused = toYaml(mergePatch(now, patch));
      write(`${COMMENT}${OVERTAKEN}${comment(toYaml(theirs).trimEnd())}${refused}`);
    } catch (error) {
      const isOurs = error instanceof UserError || error instanceof ApiError;
      if (!isOurs || isApiError(error, "ServiceUnavailable", "Timeout", "Forbidden", "Unauthorized"))
        throw new UserError(
          `${error instanceof Error ? error.message : error}\nwhat you wrote is kept in ${file}`,
          { cause: error },
        );
      write(`${COMMENT}# It was refused:\n${comment(error.message)}${wanted}`);
      refused = wanted;
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
