/**
 * One small language of filters, for tables and the map: words that must all be met.
 *   web                in name, namespace, host or address
 *   state:running      its phase          host:fast-1       policy:web
 *   tier=web           a label            tier              with a colon before nothing: any of the above
 * Pure.
 */
import { phaseOf } from "./derive.ts";
import type { Machine, Policy } from "./kinds.ts";

export type MachineTest = (vm: Machine, policies: readonly Policy[]) => boolean;

export function machineFilter(text: string): MachineTest {
  const tests = text.trim().toLowerCase().split(/\s+/).filter(Boolean).map(testOf);
  return (vm, policies) => tests.every((test) => test(vm, policies));
}

function testOf(word: string): MachineTest {
  const [key = "", ...rest] = word.split(":");
  const value = rest.join(":");
  if (rest.length > 0) {
    if (key === "state") return (vm) => phaseOf(vm).toLowerCase() === value;
    if (key === "host") return (vm) => (vm.status?.host ?? "").toLowerCase() === value;
    if (key === "namespace") return (vm) => vm.metadata.namespace === value;
    if (key === "policy")
      return (_, policies) =>
        value === "none" ? policies.length === 0 : policies.some(({ metadata }) => metadata.name === value);
  }
  const [label = "", ...values] = word.split("=");
  if (values.length > 0)
    return ({ metadata }) =>
      Object.entries(metadata.labels ?? {}).some(
        ([name, found]) => name.toLowerCase() === label && found.toLowerCase() === values.join("="),
      );
  return (vm) =>
    [
      vm.metadata.name,
      vm.metadata.namespace ?? "",
      vm.status?.host ?? "",
      ...(vm.status?.interfaces ?? []).map(({ address }) => address ?? ""),
    ].some((found) => found.toLowerCase().includes(word));
}

/** The text with one key set to a value, or without it. */
export function withKey(text: string, key: string, value: string): string {
  const others = text.split(/\s+/).filter((word) => word && !word.toLowerCase().startsWith(`${key}:`));
  return [...others, ...(value ? [`${key}:${value}`] : [])].join(" ");
}
export const keyIn = (text: string, key: string): string =>
  new RegExp(`(?:^|\\s)${key}:(\\S+)`, "i").exec(text)?.[1] ?? "";
