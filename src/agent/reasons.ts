/** Why something went wrong, for users: what a file system or program of the host says has a word for them, whatever else is inside stays inside. */
import { ApiError } from "../resource/errors.ts";
import { CommandError } from "../system/run.ts";
import { StillPreparing } from "./disks/copies.ts";
import { LayersError } from "./disks/layer-records.ts";
import { HypervisorError } from "./hypervisor.ts";
import { PrepareError } from "./prepare-error.ts";

/** Of system calls on disks, by errno. */
const FILE_SYSTEM: Readonly<Record<string, string>> = {
  ENOSPC: "there is no room in its storage pool; make some",
  EDQUOT: "the quota of its storage pool is used up; raise it",
  EROFS: "its storage pool is read-only on its host; mount it for writing",
  EIO: "its storage pool has an input/output error; look after the storage",
  ESTALE: "its storage pool was mounted anew elsewhere (stale file handle); mount it again on its host",
  ETIMEDOUT: "its storage pool does not answer; look after the storage",
  ENOENT: "something of it is missing in its storage pool; is the pool mounted on its host?",
  EACCES: "its host may not use the files in its storage pool; look after their owners and permissions",
  EPERM: "its host may not use the files in its storage pool; look after their owners and permissions",
};

type ErrorKind = abstract new (...args: never[]) => Error;

/** `kinds`: others whose text is for users. */
export function reasonOf(error: unknown, ...kinds: ErrorKind[]): string {
  const told = [HypervisorError, LayersError, PrepareError, CommandError, ...kinds];
  if (error instanceof Error && told.some((kind) => error instanceof kind)) return error.message;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return (
    FILE_SYSTEM[code] ??
    "an error that is not expected, which its host's agent has logged; tell whoever runs the host"
  );
}

/** What a tool said is for users, too; anything else that goes wrong inside is in the agent's log. */
export const failedTo =
  (what: string) =>
  (cause: unknown): never => {
    if ([PrepareError, ApiError, StillPreparing].some((known) => cause instanceof known)) throw cause;
    const said =
      cause instanceof CommandError || cause instanceof LayersError
        ? cause.message
        : "see the log of the agent";
    throw new PrepareError(`its host could not ${what}: ${said}`, { cause });
  };
