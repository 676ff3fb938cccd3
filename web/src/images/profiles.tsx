/** What the image is for, and how it boots: profiles, each choice by itself, and the formats that it is given in besides. */
import { MODES } from "../../../src/images/releases/release.ts";
import { kernelOf } from "../../../src/images/shared.ts";
import { Field } from "../../ui/field.tsx";
import type { Distribution } from "../data/kinds.ts";
import { inMode, whyNotMode, whyNotProfile } from "./abilities.ts";
import { type Draft, isOfProfile, PROFILES } from "./draft.ts";

const ABOUT: Readonly<Record<Draft["mode"], string>> = {
  slim: "busybox; maintainer scripts of packages do not run",
  full: "the distribution's package manager, and systemd",
};

/** Another set of packages takes the kernel that is usual with it. */
const withChoice = <K extends "profile" | "boot" | "root" | "kernel">(key: K, value: Draft[K]) => {
  const change: Partial<Draft> = { [key]: value };
  return change.profile ? { ...change, kernel: kernelOf({ profile: change.profile }) } : change;
};

export function Profiles({
  draft,
  set,
  setDraft,
  distribution,
}: {
  draft: Draft;
  set: (change: Partial<Draft>) => void;
  setDraft: (change: (draft: Draft) => Draft) => void;
  distribution: Distribution | undefined;
}) {
  const whyNot = (mode: Draft["mode"]) => distribution && whyNotMode(distribution, mode);

  const choice = <K extends "profile" | "boot" | "root" | "kernel">(
    key: K,
    label: string,
    options: readonly (readonly [value: Draft[K], text: string, isOff?: boolean])[],
  ) => (
    <Field id={`image-${key}`} label={label}>
      <select
        id={`image-${key}`}
        value={draft[key]}
        onChange={({ target }) => {
          const found = options.find(([value]) => value === target.value);
          if (found) set(withChoice(key, found[0]));
        }}
      >
        {options.map(([value, text, isOff]) => (
          <option key={value} value={value} disabled={isOff}>
            {text}
          </option>
        ))}
      </select>
    </Field>
  );
  const noDesktop = whyNotProfile(draft, "gnome") !== undefined;
  return (
    <>
      <fieldset className="choices">
        <legend>Profile</legend>
        {MODES.map(
          (mode) =>
            whyNot(mode) && (
              <p key={mode} id={`no-${mode}`} className="muted small">
                {whyNot(mode)}
              </p>
            ),
        )}
        {PROFILES.map((profile) => {
          const { mode, profile: packages } = profile.sets;
          const none = whyNotProfile(draft, packages);
          const why = whyNot(mode) ?? none;
          return (
            <label key={profile.name} className={why ? "off" : undefined}>
              <input
                type="radio"
                name="profile"
                checked={isOfProfile(profile, draft)}
                disabled={why !== undefined}
                aria-describedby={why && !none ? `no-${mode}` : undefined}
                onChange={() => set(profile.sets)}
              />
              <span>
                {profile.name}
                <span className="hint">{none ?? profile.about}</span>
              </span>
            </label>
          );
        })}
      </fieldset>
      <details>
        <summary>System, boot, kernel, services</summary>
        <div className="stack">
          <fieldset className="choices">
            <legend>System</legend>
            {MODES.map((mode) => (
              <label key={mode} className={whyNot(mode) ? "off" : undefined}>
                <input
                  type="radio"
                  name="mode"
                  checked={draft.mode === mode}
                  disabled={whyNot(mode) !== undefined}
                  onChange={() => setDraft((before) => inMode(before, mode))}
                />
                <span>
                  {mode}
                  <span className="hint">{whyNot(mode) ?? ABOUT[mode]}</span>
                </span>
              </label>
            ))}
          </fieldset>
          {draft.mode === "full" &&
            choice("profile", "Packages besides those that are chosen", [
              ["minimal", "none"],
              ["server", "a server's: SSH, time, certificates"],
              ["text", "a server's, and tools and manuals for a terminal"],
              ["gnome", "a server's, and GNOME (of Debian and Ubuntu; kernel for all hardware)", noDesktop],
              ["kde", "a server's, and KDE (of Debian and Ubuntu; kernel for all hardware)", noDesktop],
            ])}
          {choice("boot", "Boot", [
            ["direct", "with its kernel directly"],
            ["bios", "by BIOS"],
            ["uefi", "by UEFI"],
            ["both", "by BIOS and UEFI"],
          ])}
          {choice("root", "Root file system", [
            ["ext4", "on the disk"],
            ["squashfs", "on the disk, compressed and only read (squashfs)"],
            ["erofs", "on the disk, compressed and only read (erofs)"],
            // A full one is too large.
            ...(draft.mode === "slim" ? [["ram", "in memory"] as const] : []),
          ])}
          {choice("kernel", "Kernel", [
            ["cloud", "small, for virtual machines"],
            ["generic", "for all hardware"],
          ])}
          <label className="row">
            <input
              type="checkbox"
              checked={draft.guestAgent}
              onChange={({ target }) => set({ guestAgent: target.checked })}
            />
            QEMU's guest agent
          </label>
          <Field
            id="image-services"
            label="Services"
            hint="One a line: web=/usr/sbin/nginx -g 'daemon off;'. They are kept running. In a full system the name of a unit will do."
          >
            <textarea
              id="image-services"
              rows={3}
              spellCheck={false}
              value={draft.services}
              onChange={({ target }) => set({ services: target.value })}
            />
          </Field>
        </div>
      </details>
      <fieldset className="formats">
        <legend>Formats to download, beside the disk of machines here</legend>
        {(distribution?.status?.formats ?? []).map((format) => (
          <label key={format} className="row">
            <input
              type="checkbox"
              checked={draft.formats.includes(format)}
              onChange={({ target }) =>
                set({
                  formats: target.checked
                    ? [...draft.formats, format]
                    : draft.formats.filter((other) => other !== format),
                })
              }
            />
            {format}
          </label>
        ))}
      </fieldset>
    </>
  );
}
