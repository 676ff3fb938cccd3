/** Whether full images of a release can be built on this machine. */
import { isInstalled } from "../../system/programs.ts";
import { type AptRelease, isRpm, type RpmRelease } from "../releases/release.ts";
import { missingRpmTools } from "../rpm/programs.ts";
import { sealed } from "../workshop/sealed.ts";

/** What full images take that is not to be had here. */
export interface Lack {
  /** Of the recipe. */
  field: "mode" | "distribution";
  /** As of a condition. */
  reason: "NotRoot" | "NoNamespaces" | "ToolMissing";
  /** What is missing, and what to do, for users. */
  message: string;
  cause?: unknown;
}

/** @throws SealedError when this process may not make namespaces */
export const tryNamespaces = (): Promise<void> => sealed({ log: () => {} }, ["chroot", "/", "true"]);

/** Why images with their package manager cannot be built here. @param namespaces as tryNamespaces, which takes a while */
export async function lackOfFullMode(
  release: AptRelease | RpmRelease,
  namespaces = tryNamespaces,
): Promise<Lack | undefined> {
  const slim = release.modes.includes("slim") ? "build" : "build an image of Debian";
  const otherwise = `or ${slim} with mode: slim, which takes neither for packages of the distribution alone`;
  const uid = process.getuid?.();
  if (uid !== 0)
    return {
      field: "mode",
      reason: "NotRoot",
      message: `full images are built as root, in namespaces of their own; this control plane runs as user ${uid}. Run it as root, ${otherwise}`,
    };
  try {
    await namespaces();
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.split("\n").at(-1) : String(cause);
    return {
      field: "mode",
      reason: "NoNamespaces",
      message: `full images are built in namespaces of their own, which are not to be had here (${said}). In a container it takes CAP_SYS_ADMIN; give it that, ${otherwise}`,
      cause,
    };
  }
  if (isRpm(release)) {
    const message = await missingRpmTools(release);
    return message === undefined ? undefined : { field: "distribution", reason: "ToolMissing", message };
  }
  if (await isInstalled("mmdebstrap")) return undefined;
  return {
    field: "mode",
    reason: "ToolMissing",
    message: `full images are built by mmdebstrap, which is not on the control plane's machine; install it, ${otherwise}`,
  };
}

/** @throws Error with what is missing, and what to do, when images with their package manager cannot be built here */
export async function requireFullMode(release: AptRelease | RpmRelease): Promise<void> {
  const lack = await lackOfFullMode(release);
  if (lack) throw new Error(`recipe.${lack.field}: ${lack.message}`, { cause: lack.cause });
}
