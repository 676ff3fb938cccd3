/**
 * What a Distribution says of its packages (src/images/distributions.ts on the server), which fetches its lists first when it has none yet.
 */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { request } from "../data/api.ts";
import { objectPath } from "../data/kinds.ts";
import type { Draft } from "./draft.ts";

export interface Package {
  name: string;
  version: string;
  section: string;
  description: string;
  downloadBytes: number;
  installedBytes: number;
  /** The package that first needs it. */
  because?: string;
  /** It is in every slim image. */
  base?: boolean;
}

export interface Section {
  name: string;
  /** How many it has. */
  packages: number;
}

export interface Found {
  items: Package[];
  /** How many more there are. */
  more: number;
  sections: Section[];
}

export interface Closure {
  packages: Package[];
  downloadBytes: number;
  installedBytes: number;
  unknown: { name: string; nearest: string[] }[];
  conflicts: { package: string; with?: string; reason: string }[];
}

interface PackageList {
  items: Package[];
  metadata: { remainingItemCount?: number };
  sections?: Section[];
}

/** Letters come quicker than answers are wanted. */
const pause = async (signal: AbortSignal) => {
  await new Promise((resolve) => setTimeout(resolve, 150));
  signal.throwIfAborted();
};

export const useSearch = (distribution: string, search: string, section: string, limit: number) =>
  useQuery<Found>({
    queryKey: ["packages", distribution, search, section, limit],
    enabled: distribution !== "",
    staleTime: 60_000,
    placeholderData: keepPreviousData,
    queryFn: async ({ signal }): Promise<Found> => {
      await pause(signal);
      const query = new URLSearchParams({ limit: String(limit), sections: "true" });
      if (search.trim()) query.set("search", search.trim());
      if (section) query.set("section", section);
      const path = `${objectPath("distributions", { name: distribution })}/packages?${query}`;
      const {
        items,
        metadata,
        sections = [],
      } = await request<PackageList>("GET", path, { signal, isLong: true });
      return {
        items,
        more: metadata.remainingItemCount ?? 0,
        sections,
      };
    },
  });

export const useClosure = (
  distribution: string,
  packages: readonly string[],
  { mode, profile }: Pick<Draft, "mode" | "profile">,
) =>
  useQuery<Closure>({
    queryKey: ["closure", distribution, packages, mode, profile],
    enabled: distribution !== "",
    staleTime: 60_000,
    // That of another distribution is none of this one.
    placeholderData: (before, query) => (query?.queryKey[1] === distribution ? before : undefined),
    queryFn: async ({ signal }): Promise<Closure> => {
      await pause(signal);
      const query = new URLSearchParams([
        ["mode", mode],
        ["profile", profile],
        ...packages.map((name) => ["package", name]),
      ]);
      return request("GET", `${objectPath("distributions", { name: distribution })}/closure?${query}`, {
        signal,
        isLong: true,
      });
    },
  });
