/** What the studio asks for, and the recipe that it is. Pure. */
import type { Image } from "../data/kinds.ts";

export type Recipe = NonNullable<Image["spec"]["recipe"]>;
type Format = NonNullable<Recipe["formats"]>[number];

export interface Draft {
  name: string;
  packages: readonly string[];
  mode: NonNullable<Recipe["mode"]>;
  /** One a line: "web=/usr/sbin/nginx -g 'daemon off;'"; in full mode a unit's name will do. */
  services: string;
  boot: NonNullable<Recipe["boot"]>;
  root: NonNullable<Recipe["root"]>;
  kernel: NonNullable<Recipe["kernel"]>;
  minimize: boolean;
  guestAgent: boolean;
  formats: readonly string[];
  /** What the form does not show of a recipe that it began with: files, folders, a disk's size. */
  rest: Partial<Recipe>;
}

export interface Profile {
  name: string;
  about: string;
  sets: Partial<Draft>;
}

/** What most people want, by what the image is for. */
export const PROFILES: readonly Profile[] = [
  {
    name: "Machine of this installation",
    about: "started with its kernel directly: the smallest, and the quickest to boot",
    sets: { mode: "slim", boot: "direct", root: "ext4", kernel: "cloud", minimize: false, formats: [] },
  },
  {
    name: "Any hypervisor",
    about: "boots by BIOS and UEFI, with drivers for VMware, Hyper-V, VirtualBox, Xen",
    sets: { mode: "slim", boot: "both", root: "ext4", kernel: "generic", minimize: false, formats: ["ova"] },
  },
  {
    name: "Appliance in memory",
    about: "all of it is loaded into memory, from a CD or the network; nothing stays",
    sets: { mode: "slim", boot: "both", root: "ram", kernel: "generic", minimize: false, formats: ["iso"] },
  },
  {
    name: "Whole Debian",
    about: "with dpkg, apt and systemd: packages set themselves up, as on a server",
    sets: { mode: "full", boot: "both", root: "ext4", kernel: "cloud", minimize: false, formats: [] },
  },
  {
    name: "As slim as can be",
    about: "files that neither services nor the packages need are left out",
    sets: { mode: "slim", boot: "direct", root: "ext4", kernel: "cloud", minimize: true, formats: [] },
  },
];

export const EMPTY: Draft = {
  name: "",
  packages: [],
  mode: "slim",
  services: "",
  boot: "direct",
  root: "ext4",
  kernel: "cloud",
  minimize: false,
  guestAgent: true,
  formats: [],
  rest: {},
};

/** @param name of the image */
export function draftOf(name: string, recipe: Recipe): Draft {
  // A lock is of the packages as they were; others are resolved anew.
  const {
    packages,
    mode,
    services = [],
    boot,
    root,
    kernel,
    minimize,
    guestAgent,
    formats,
    lock: _,
    ...rest
  } = recipe;
  return {
    name,
    packages,
    services: services
      .map(({ name, command }) => (command === undefined ? name : `${name}=${command}`))
      .join("\n"),
    mode: mode ?? EMPTY.mode,
    boot: boot ?? EMPTY.boot,
    root: root ?? EMPTY.root,
    kernel: kernel ?? EMPTY.kernel,
    minimize: minimize ?? false,
    guestAgent: guestAgent ?? true,
    formats: formats ?? [],
    rest,
  };
}

/** Only what is not so anyway. The server looks all of it over. */
export function recipeOf(draft: Draft): Recipe {
  const services = draft.services
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [name = "", ...command] = line.split("=");
      return { name: name.trim(), ...(command.length > 0 ? { command: command.join("=").trim() } : {}) };
    });
  return {
    distribution: "debian",
    release: "bookworm",
    ...draft.rest,
    packages: [...draft.packages],
    ...(services.length > 0 ? { services } : {}),
    ...(draft.mode === EMPTY.mode ? {} : { mode: draft.mode }),
    ...(draft.boot === EMPTY.boot ? {} : { boot: draft.boot }),
    ...(draft.root === EMPTY.root ? {} : { root: draft.root }),
    ...(draft.kernel === EMPTY.kernel ? {} : { kernel: draft.kernel }),
    ...(draft.minimize ? { minimize: true } : {}),
    ...(draft.guestAgent ? {} : { guestAgent: false }),
    ...(draft.formats.length > 0 ? { formats: [...draft.formats] as Format[] } : {}),
  };
}

export const isOfProfile = ({ sets }: Profile, draft: Draft): boolean =>
  (["mode", "boot", "root", "kernel", "minimize"] as const).every((field) => sets[field] === draft[field]);
