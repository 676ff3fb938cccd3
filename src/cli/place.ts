/** Options that verbs share: which control plane, which namespace, how long. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { StatePaths } from "./paths.ts";
import type { Place } from "./resources.ts";

export interface PlaceOptions {
  kubeconfig?: string;
  namespace?: string;
  allNamespaces?: boolean;
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "90s", "5m", "2h", "7d" or seconds, in ms. */
export function durationMs(text: string): number {
  const [, digits, unit = "s"] = /^(\d{1,7})([smhd])?$/.exec(text) ?? [];
  const scale = UNITS[unit];
  if (!digits || !scale) throw new InvalidArgumentError("a time such as 90s, 5m, 2h or 7d is needed");
  return Number(digits) * scale;
}

/** The same of what would be over at once if it were 0. */
export function lifetimeMs(text: string): number {
  const ms = durationMs(text);
  if (ms === 0) throw new InvalidArgumentError("a time above 0 is needed, such as 30m, 12h or 7d");
  return ms;
}

/** Timers of Node take no more (2^31 ms): a longer one would be over at once. */
const LONGEST_WAIT_MS = 24 * 86_400_000;

/** The same of how long to wait for something. */
export function waitMs(text: string): number {
  const ms = durationMs(text);
  if (ms > LONGEST_WAIT_MS) throw new InvalidArgumentError("at most 24d can be waited");
  return ms;
}

/** @param byDefault as people write it, and as the help shows it */
export const duration = (flags: string, what: string, byDefault: string): Option =>
  new Option(flags, what).argParser(waitMs).default(durationMs(byDefault), byDefault);

/** A parser of an option that counts something. */
export const wholeNumber =
  (most = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? "above 0" : `from 1 to ${most}`;
    throw new InvalidArgumentError(`a whole number ${range} is needed`);
  };

/** A parser of an option that may be given several times. One that is required has no default: it would be given then, by none. */
export const collect = (value: string, list: string[] = []): string[] => [...list, value];

/** For verbs on what is in no namespace. */
export const withControlPlane = (command: Command): Command =>
  command.option("--kubeconfig <file>", "another control plane than this installation's");

export const withPlace = (command: Command, { all = false } = {}): Command => {
  withControlPlane(
    command.option("-n, --namespace <namespace>", "the namespace; by default the kubeconfig's"),
  );
  return all ? command.option("-A, --all-namespaces", "in all namespaces") : command;
};

/** `paths` is asked for when a verb runs: options before it decide. */
export const placeFrom =
  (paths: () => StatePaths) =>
  ({ kubeconfig, namespace, allNamespaces }: PlaceOptions): Place => ({
    paths: paths(),
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(allNamespaces === undefined ? {} : { allNamespaces }),
  });
