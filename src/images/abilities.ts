/** What a control plane can do with a release, as conditions of its Distribution: whether images of it can be built here in each mode, checked, and their packages picked. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describeError } from "../reconcile/log.ts";
import type { ConditionInput } from "../resource/object.ts";
import { lackOfFullMode, tryNamespaces } from "./full/full-mode.ts";
import type { Distribution } from "./kinds.ts";
import { sourcesFor } from "./packages/sources.ts";
import {
  type AptRelease,
  isRpm,
  MODES,
  type Mode,
  type RpmRelease,
  withoutKeys,
  withoutMode,
  withoutPicker,
} from "./releases/release.ts";
import { distributionName, releaseOf } from "./releases/releases.ts";
import { type Ability, BUILDABLE } from "./shared.ts";
import { lackOfSeal, UNSEALED } from "./workshop/packaged.ts";
import { SealedError } from "./workshop/sealed.ts";

type No = { reason: string; message: string } | undefined;

/** Whether recipes do without mirror.key. */
async function hasKeys(release: AptRelease | RpmRelease): Promise<boolean> {
  const { files } = release.keys;
  if (isRpm(release)) return files.some((path) => existsSync(path));
  if (existsSync(files[0])) return true;
  // This machine's own sources name keys of their own.
  const osRelease = await readFile("/etc/os-release", "utf8").catch(() => "");
  return sourcesFor(release, { osRelease, keys: files[0] }) === undefined;
}

/** What is tried of this machine as builds try it, each of which takes a moment: one answer is every release's. */
export interface Probes {
  /** Full images'; as lackOfFullMode() takes it. */
  namespaces: typeof tryNamespaces;
  /** Slim images', of strangers' packages. */
  seal: () => ReturnType<typeof lackOfSeal>;
}
export const PROBES: Probes = { namespaces: tryNamespaces, seal: () => lackOfSeal() };

export async function abilitiesOf(
  spec: Distribution["spec"],
  { namespaces, seal }: Probes,
): Promise<ConditionInput[]> {
  const release = releaseOf(spec);
  const name = distributionName(spec);
  const condition = (type: Ability, yes: string, no: No): ConditionInput =>
    no ? { type, status: "False", ...no } : { type, status: "True", reason: "Available", message: yes };
  const whyNotBuilt = async (mode: Mode): Promise<No> => {
    if (!release.modes.includes(mode)) return { reason: "NoSuchMode", message: withoutMode(release) };
    const lack = mode === "full" ? await lackOfFullMode(release, namespaces) : undefined;
    return lack && { reason: lack.reason, message: lack.message };
  };
  const lackOfStrangers = async () => {
    const lack = await seal().catch((error: unknown) => error);
    if (lack === undefined) return "";
    // What fails otherwise (a full disk) is told as that, and all the rest is told all the same.
    const why = lack instanceof SealedError ? UNSEALED : describeError(lack);
    return `, but not with recipe.repositories or recipe.mirror.key: ${why}`;
  };
  const keys = await hasKeys(release);
  const modes: ConditionInput[] = [];
  for (const mode of MODES) {
    const no = await whyNotBuilt(mode);
    const but = mode === "slim" && !no ? await lackOfStrangers() : "";
    modes.push(condition(BUILDABLE[mode], `${mode} images of ${release.title} are built here${but}`, no));
  }
  return [
    ...modes,
    condition(
      "KeysAvailable",
      `packages are checked with the keys of ${release.title} on the control plane's machine`,
      keys ? undefined : { reason: "NoKeys", message: withoutKeys(release) },
    ),
    condition(
      "PickerAvailable",
      `packages of ${name} can be picked`,
      isRpm(release)
        ? { reason: "NoLists", message: withoutPicker(name) }
        : keys
          ? undefined
          : {
              reason: "NoKeys",
              message: `${withoutPicker(name)}, as there are no keys of ${release.title} on the control plane's machine to check lists of packages with`,
            },
    ),
  ];
}
