/** Host attributes that rules of policies name, and how each is read. Pure. */
import { parseBytes, QuantityError } from "../resource/quantity.ts";
import type { HostView } from "./estate.ts";
import type { ATTRIBUTES, Policy } from "./kinds.ts";

export type Attribute = (typeof ATTRIBUTES)[number];
export type Rule = NonNullable<Policy["spec"]["required"]>[number];

/** Undefined: this host does not tell. */
export function attributeOf(host: HostView, attribute: Attribute): string | number | undefined {
  switch (attribute) {
    case "name":
      return host.name;
    case "site":
      return host.site;
    case "rack":
      return host.rack;
    case "cpu.model":
      return host.cpuModel;
    case "cpu.cores":
      return host.cores;
    case "cpu.mhz":
      return host.mhz;
    case "memory.bytes":
      return host.memoryBytes;
    case "disk.ssd":
      return String(host.ssd);
    case "link.mbps":
      return host.linkMbps;
    case "power.idleWatts":
      return host.idleWatts;
    case "power.maxWatts":
      return host.maxWatts;
    case "accelerator":
      return host.accelerator;
  }
}

export const NUMERIC: readonly Attribute[] = [
  "cpu.cores",
  "cpu.mhz",
  "memory.bytes",
  "link.mbps",
  "power.idleWatts",
  "power.maxWatts",
];

/** A number as rules write it: 3000, or 64Gi for memory. Undefined when it is none. */
export function numberIn(attribute: Attribute, text: string): number | undefined {
  if (attribute === "memory.bytes" && !/^\d+$/.test(text)) {
    try {
      return parseBytes(text);
    } catch (error) {
      if (error instanceof QuantityError) return undefined;
      throw error;
    }
  }
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) ? value : undefined;
}

const WORDS = { In: "to be", NotIn: "not to be", AtLeast: "at least", AtMost: "at most" } as const;

export function describeRule(rule: Rule): string {
  return `${rule.attribute} ${WORDS[rule.operator]} ${rule.values.join(" or ")}`;
}

/** @returns why the host breaks the rule, or undefined when it keeps it */
export function breach(host: HostView, rule: Rule): string | undefined {
  const value = attributeOf(host, rule.attribute);
  if (value === undefined) return `requires ${describeRule(rule)}, which the host does not tell`;
  const [first = ""] = rule.values;
  const limit = numberIn(rule.attribute, first);
  const kept = {
    In: () => rule.values.includes(String(value)),
    NotIn: () => !rule.values.includes(String(value)),
    AtLeast: () => limit !== undefined && Number(value) >= limit,
    AtMost: () => limit !== undefined && Number(value) <= limit,
  }[rule.operator]();
  return kept ? undefined : `requires ${describeRule(rule)}, has ${value}`;
}
