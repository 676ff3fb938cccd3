/**
 * Known vulnerabilities of an image's packages, by a file of Debian's security tracker (https://security-tracker.debian.org/tracker/data/json) or of OSV records
 * (https://ossf.github.io/osv-schema/; as an array, one a line, or {"vulns": […]}). Both name source packages. Pure.
 */
import { isFields } from "../../resource/fields.ts";
import { compareVersions } from "../packages/version.ts";
import { aptRelease } from "../releases/releases.ts";

export interface InstalledPackage {
  name: string;
  version: string;
  source: { name: string; version: string };
}

export interface Vulnerability {
  /** CVE-2024-1, DSA-1-1. */
  id: string;
  package: string;
  version: string;
  /** The source's version without it; absent where there is none. */
  fixed?: string;
  /** Debian's urgency or OSV's severity, as it is written there. */
  urgency?: string;
  summary: string;
}

export interface Report {
  kind: "tracker" | "osv";
  /** How many entries the file has for the release's packages of the image, affected or not. */
  checked: number;
  found: Vulnerability[];
  /** Those that Debian holds for no danger at all. */
  unimportant: number;
}

export class VulnerabilityError extends Error {}

const text = (value: unknown) => (typeof value === "string" ? value : undefined);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** @param content of the file. @throws VulnerabilityError for what is neither */
export function vulnerabilities(
  content: string,
  release: string,
  packages: readonly InstalledPackage[],
): Report {
  const value = parsed(content);
  const bySource = new Map<string, InstalledPackage[]>();
  for (const each of packages)
    bySource.set(each.source.name, [...(bySource.get(each.source.name) ?? []), each]);
  const records = Array.isArray(value)
    ? value
    : isFields(value) && Array.isArray(value.vulns)
      ? value.vulns
      : undefined;
  const report = records
    ? ofOsv(records, release, bySource)
    : isFields(value) && text(value.id) && value.affected !== undefined
      ? ofOsv([value], release, bySource)
      : ofTracker(value, release, bySource);
  report.found.sort((a, b) => (a.package === b.package ? byId(a, b) : a.package < b.package ? -1 : 1));
  return report;
}

/** CVE-2024-999 before CVE-2024-1000. */
const byId = (a: Vulnerability, b: Vulnerability) => a.id.localeCompare(b.id, "en", { numeric: true });

function parsed(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch (cause) {
    try {
      return content
        .split("\n")
        .filter((line) => line.trim() !== "")
        .map((line): unknown => JSON.parse(line));
    } catch {
      throw new VulnerabilityError("is no JSON", { cause });
    }
  }
}

type BySource = ReadonlyMap<string, readonly InstalledPackage[]>;

function ofTracker(value: unknown, release: string, bySource: BySource): Report {
  const report: Report = { kind: "tracker", checked: 0, found: [], unimportant: 0 };
  // {source: {CVE: {description, releases: {bookworm: {status, fixed_version, urgency}}}}}
  const looksRight =
    isFields(value) &&
    Object.values(value).some(
      (issues) =>
        isFields(issues) &&
        Object.values(issues).some((issue) => isFields(issue) && isFields(issue.releases)),
    );
  if (!looksRight)
    throw new VulnerabilityError("is neither Debian's security tracker's data nor OSV records");
  for (const [source, packages] of bySource) {
    const issues = Object.hasOwn(value, source) ? value[source] : undefined;
    if (!isFields(issues)) continue;
    for (const [id, issue] of Object.entries(issues)) {
      const releases = isFields(issue) ? issue.releases : undefined;
      const here = isFields(releases) ? releases[release] : undefined;
      if (!isFields(issue) || !isFields(here)) continue;
      report.checked += 1;
      const fixed = here.status === "resolved" ? text(here.fixed_version) : undefined;
      // "0": its version here never had it. "undetermined": nobody knows.
      if (here.status !== "open" && fixed === undefined) continue;
      const affected = packages.filter(
        ({ source }) => fixed === undefined || compareVersions(source.version, fixed) < 0,
      );
      const urgency = text(here.urgency);
      for (const { name, version } of affected) {
        if (urgency === "unimportant") report.unimportant += 1;
        else
          report.found.push(
            vulnerability({ id, package: name, version, fixed, urgency, summary: text(issue.description) }),
          );
      }
    }
  }
  return report;
}

function vulnerability({
  fixed,
  urgency,
  summary = "",
  ...rest
}: Pick<Vulnerability, "id" | "package" | "version"> & {
  fixed: string | undefined;
  urgency: string | undefined;
  summary: string | undefined;
}): Vulnerability {
  return { ...rest, ...(fixed ? { fixed } : {}), ...(urgency ? { urgency } : {}), summary };
}

function ofOsv(records: readonly unknown[], release: string, bySource: BySource): Report {
  const report: Report = { kind: "osv", checked: 0, found: [], unimportant: 0 };
  const ecosystems = ["Debian", `Debian:${aptRelease(release).versionId}`];
  for (const record of records) {
    if (!isFields(record) || !text(record.id) || !Array.isArray(record.affected))
      throw new VulnerabilityError("is neither Debian's security tracker's data nor OSV records");
    if (record.withdrawn !== undefined) continue;
    for (const affected of list(record.affected)) {
      const about = isFields(affected) ? affected.package : undefined;
      if (!isFields(affected) || !isFields(about) || !ecosystems.includes(text(about.ecosystem) ?? ""))
        continue;
      for (const installed of bySource.get(text(about.name) ?? "") ?? []) {
        report.checked += 1;
        const hit = hitBy(affected, installed.source.version);
        if (!hit) continue;
        report.found.push(
          vulnerability({
            id: idOf(record),
            package: installed.name,
            version: installed.version,
            fixed: hit.fixed,
            urgency: urgencyOf(affected, record),
            summary: text(record.summary) ?? text(record.details),
          }),
        );
      }
    }
  }
  return report;
}

/** The name by which it is known everywhere, where its own is Debian's. */
function idOf(record: Record<string, unknown>): string {
  const id = text(record.id) ?? "";
  if (id.startsWith("CVE-")) return id;
  const names = [...list(record.upstream), ...list(record.aliases)].map(text);
  return names.find((name) => name?.startsWith("CVE-")) ?? id.replace(/^DEBIAN-(?=CVE-)/, "");
}

function urgencyOf(affected: Record<string, unknown>, record: Record<string, unknown>): string | undefined {
  const specific = isFields(affected.ecosystem_specific) ? affected.ecosystem_specific : {};
  const [severity] = list(record.severity);
  return text(specific.urgency) ?? (isFields(severity) ? text(severity.score) : undefined);
}

/** By https://ossf.github.io/osv-schema/#evaluation. @returns undefined when the version is not affected */
function hitBy(
  affected: Record<string, unknown>,
  version: string,
): { fixed: string | undefined } | undefined {
  if (list(affected.versions).includes(version)) return { fixed: fixOf(affected, version) };
  for (const range of list(affected.ranges)) {
    if (!isFields(range) || range.type !== "ECOSYSTEM") continue;
    const events = list(range.events)
      .filter(isFields)
      .flatMap((event) =>
        (["introduced", "fixed", "last_affected"] as const).flatMap((what) => {
          const at = text(event[what]);
          return at === undefined ? [] : [{ what, at }];
        }),
      );
    // "0" is before all versions.
    const order = (a: string, b: string) =>
      a === b ? 0 : a === "0" ? -1 : b === "0" ? 1 : compareVersions(a, b);
    events.sort((a, b) => order(a.at, b.at));
    let isHit = false;
    for (const { what, at } of events) {
      if (what === "introduced" && order(version, at) >= 0) isHit = true;
      if (what === "fixed" && order(version, at) >= 0) isHit = false;
      if (what === "last_affected" && order(version, at) > 0) isHit = false;
    }
    if (isHit) return { fixed: fixOf(affected, version) };
  }
  return undefined;
}

/** The first version after this one that is mended. */
function fixOf(affected: Record<string, unknown>, version: string): string | undefined {
  const fixes = list(affected.ranges).flatMap((range) =>
    isFields(range)
      ? list(range.events).flatMap((event) => (isFields(event) ? (text(event.fixed) ?? []) : []))
      : [],
  );
  return fixes.filter((fix) => compareVersions(fix, version) > 0).sort(compareVersions)[0];
}
