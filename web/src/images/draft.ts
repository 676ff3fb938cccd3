/** What the studio asks for, and the recipe that it is. Pure. */
import { DEFAULT_RELEASE, kernelOf } from "../../../src/images/shared.ts";
import type { Image } from "../data/kinds.ts";

export type Recipe = NonNullable<Image["spec"]["recipe"]>;
type Format = NonNullable<Recipe["formats"]>[number];

/** A tar archive of the recipe. */
export interface DraftArchive {
  /** What the recipe calls it; no two are called alike. */
  file: string;
  /** The folder in the image; "" for "/". */
  path: string;
  bytes: number;
  /** Of one that is chosen here, once it has been read. */
  sha256?: string;
  /** How much of it has been read. */
  readBytes?: number;
  /** Why it is none. */
  wrong?: string;
  /** Chosen here; without it the server has it, or waits for it. */
  from?: File;
}

export interface Draft {
  name: string;
  distribution: Recipe["distribution"];
  release: Recipe["release"];
  /** "" for the distribution's own. */
  mirrorUri: string;
  mirrorKey: string;
  packages: readonly string[];
  mode: NonNullable<Recipe["mode"]>;
  /** What a full image has besides the packages that are named. */
  profile: NonNullable<Recipe["profile"]>;
  /** One a line: "web=/usr/sbin/nginx -g 'daemon off;'"; in full mode a unit's name will do. */
  services: string;
  boot: NonNullable<Recipe["boot"]>;
  root: NonNullable<Recipe["root"]>;
  kernel: NonNullable<Recipe["kernel"]>;
  minimize: boolean;
  guestAgent: boolean;
  formats: readonly string[];
  archives: readonly DraftArchive[];
  /** What the form does not show of a recipe that it began with: files, folders, a disk's size. */
  rest: Partial<Recipe>;
}

export interface Profile {
  name: string;
  about: string;
  sets: Pick<Draft, "mode" | "profile" | "boot" | "root" | "kernel" | "minimize" | "formats">;
}

/** By BIOS and UEFI, on a disk that is written to. */
const BOOTED = { profile: "minimal", boot: "both", root: "ext4", minimize: false, formats: [] } as const;
const DIRECT = { ...BOOTED, boot: "direct" } as const;

/** What most people want, by what the image is for. */
export const PROFILES: readonly Profile[] = [
  {
    name: "Machine of this installation",
    about: "started with its kernel directly: the smallest, and the quickest to boot",
    sets: { ...DIRECT, mode: "slim", kernel: "cloud" },
  },
  {
    name: "Any hypervisor",
    about: "boots by BIOS and UEFI, with drivers for VMware, Hyper-V, VirtualBox, Xen",
    sets: { ...BOOTED, mode: "slim", kernel: "generic", formats: ["ova"] },
  },
  {
    name: "Appliance in memory",
    about: "all of it is loaded into memory, from a CD or the network; nothing stays",
    sets: { ...BOOTED, mode: "slim", root: "ram", kernel: "generic", formats: ["iso"] },
  },
  {
    name: "Whole system",
    about: "with its package manager and systemd: packages set themselves up, as on a server",
    sets: { ...BOOTED, mode: "full", kernel: "cloud" },
  },
  {
    name: "Desktop",
    about: "a whole system with GNOME; KDE, too, is among the packages below",
    sets: { ...BOOTED, mode: "full", profile: "gnome", kernel: "generic" },
  },
  {
    name: "As slim as can be",
    about: "files that neither services nor the packages need are left out",
    sets: { ...DIRECT, mode: "slim", kernel: "cloud", minimize: true },
  },
];

export const EMPTY: Draft = {
  name: "",
  ...DEFAULT_RELEASE,
  mirrorUri: "",
  mirrorKey: "",
  packages: [],
  mode: "slim",
  profile: "minimal",
  services: "",
  boot: "direct",
  root: "ext4",
  kernel: "cloud",
  minimize: false,
  guestAgent: true,
  formats: [],
  archives: [],
  rest: {},
};

/** @param name of the image */
export function draftOf(name: string, recipe: Recipe): Draft {
  // A lock is of the packages as they were; others are resolved anew.
  const {
    distribution,
    release,
    mirror,
    packages,
    mode,
    profile,
    services = [],
    boot,
    root,
    kernel: _kernel,
    minimize,
    guestAgent,
    formats,
    archives = [],
    lock: _,
    ...rest
  } = recipe;
  return {
    name,
    distribution,
    release,
    mirrorUri: mirror?.uri ?? "",
    mirrorKey: mirror?.key ?? "",
    packages,
    services: services
      .map(({ name, command }) => (command === undefined ? name : `${name}=${command}`))
      .join("\n"),
    mode: mode ?? EMPTY.mode,
    profile: profile ?? EMPTY.profile,
    boot: boot ?? EMPTY.boot,
    root: root ?? EMPTY.root,
    kernel: kernelOf(recipe),
    minimize: minimize ?? false,
    guestAgent: guestAgent ?? true,
    formats: formats ?? [],
    archives: archives.map(({ path = "", ...archive }) => ({ ...archive, path })),
    rest,
  };
}

/** Only what is not so anyway, of archives that have been read. The server looks all of it over. */
export function recipeOf(draft: Draft): Recipe {
  const services = draft.services
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [name = "", ...command] = line.split("=");
      return { name: name.trim(), ...(command.length > 0 ? { command: command.join("=").trim() } : {}) };
    });
  const mirror = {
    ...(draft.mirrorUri.trim() ? { uri: draft.mirrorUri.trim() } : {}),
    ...(draft.mirrorKey.trim() ? { key: draft.mirrorKey } : {}),
  };
  const archives = draft.archives.flatMap(({ file, path, bytes, sha256 }) =>
    sha256 === undefined ? [] : [{ file, sha256, bytes, ...(path.trim() ? { path: path.trim() } : {}) }],
  );
  return {
    ...draft.rest,
    distribution: draft.distribution,
    release: draft.release,
    ...(Object.keys(mirror).length > 0 ? { mirror } : {}),
    packages: [...draft.packages],
    ...(services.length > 0 ? { services } : {}),
    ...(draft.mode === EMPTY.mode ? {} : { mode: draft.mode }),
    ...(draft.profile === EMPTY.profile ? {} : { profile: draft.profile }),
    ...(draft.boot === EMPTY.boot ? {} : { boot: draft.boot }),
    ...(draft.root === EMPTY.root ? {} : { root: draft.root }),
    ...(draft.kernel === kernelOf({ profile: draft.profile }) ? {} : { kernel: draft.kernel }),
    ...(draft.minimize ? { minimize: true } : {}),
    ...(draft.guestAgent ? {} : { guestAgent: false }),
    ...(archives.length > 0 ? { archives } : {}),
    ...(draft.formats.length > 0 ? { formats: [...draft.formats] as Format[] } : {}),
  };
}

export const isOfProfile = ({ sets }: Profile, draft: Draft): boolean =>
  (["mode", "profile", "boot", "root", "kernel", "minimize"] as const).every(
    (field) => sets[field] === draft[field],
  );
