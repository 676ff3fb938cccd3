/** What an image was before, and what machines call its versions: channels, which are pointed to one here. */
import { type ReactNode, useState } from "react";
import { Action, Ago, size } from "../../ui/basics.tsx";
import { FormDialog } from "../../ui/dialog.tsx";
import { Field } from "../../ui/field.tsx";
import { toast } from "../../ui/toasts.tsx";
import { patch } from "../data/actions.ts";
import type { Image } from "../data/kinds.ts";
import { useRights } from "../data/rights.ts";

type Channels = NonNullable<Image["spec"]["channels"]>;

/** The server refuses it when somebody else has written meanwhile: a list is sent whole. */
const send = ({ metadata }: Image, channels: Channels) =>
  patch("images", metadata, {
    metadata: { resourceVersion: metadata.resourceVersion },
    spec: { channels: channels.length > 0 ? channels : null },
  });

export function Versions({ image }: { image: Image }) {
  const { metadata, spec, status } = image;
  const can = useRights(undefined);
  const [dialog, setDialog] = useState<ReactNode>(null);
  const versions = [...(status?.versions ?? [])].sort((a, b) => b.version - a.version);
  const channels = spec.channels ?? [];
  const waiting = channels.filter(({ version }) => !versions.some((one) => one.version === version));
  if (versions.length === 0 && channels.length === 0) return null;
  const whyNot = can("patch", "images");
  const withdraw = async (name: string) => {
    await send(
      image,
      channels.filter((channel) => channel.name !== name),
    );
    toast("ok", `the channel ${name} is withdrawn`);
  };
  const chip = ({ name }: { name: string }) => (
    <span key={name} className="label">
      {metadata.name}:{name}{" "}
      <Action
        kind="quiet"
        label={`Withdraw the channel ${name}`}
        whyNot={whyNot}
        onPress={() =>
          setDialog(
            <FormDialog
              title={`Withdraw the channel ${name}`}
              verb="Withdraw it"
              onClose={() => setDialog(null)}
              onSend={() => withdraw(name)}
            >
              <p>
                Machines that are there keep their disks. New ones of {metadata.name}:{name} wait until there
                is one again.
              </p>
            </FormDialog>,
          )
        }
      >
        ×
      </Action>
    </span>
  );
  return (
    <section className="panel">
      <h2>Versions and channels</h2>
      <ul className="lines">
        {versions.map(({ version, file, allocatedBytes, createdTime }) => (
          <li key={version}>
            <strong>
              {metadata.name}:{version}
            </strong>
            {file === status?.file && <span className="badge ok">newest</span>}
            {channels.filter((channel) => channel.version === version).map(chip)}
            <span className="muted">{size(allocatedBytes)}</span>
            {createdTime && (
              <span className="muted">
                <Ago time={createdTime} /> ago
              </span>
            )}
            <span className="push">
              <Action
                label={`Point a channel here… (version ${version})`}
                whyNot={whyNot}
                onPress={() =>
                  setDialog(<Promote image={image} version={version} onClose={() => setDialog(null)} />)
                }
              >
                Point a channel here…
              </Action>
            </span>
          </li>
        ))}
        {waiting.map((channel) => (
          <li key={channel.name}>
            {chip(channel)}
            <span className="muted">waits for version {channel.version}</span>
          </li>
        ))}
      </ul>
      <p className="body muted small">
        A machine of {metadata.name} gets the newest, one of {metadata.name}:CHANNEL what the channel points
        to when its disk is made. Versions that nothing names are removed, but for the newest{" "}
        {spec.keepVersions ?? 3}.
      </p>
      {dialog}
    </section>
  );
}

function Promote({ image, version, onClose }: { image: Image; version: number; onClose: () => void }) {
  const { metadata, spec } = image;
  const channels = spec.channels ?? [];
  const [name, setName] = useState(channels[0]?.name ?? "stable");
  const before = channels.find((channel) => channel.name === name);
  return (
    <FormDialog
      title={`Point a channel to ${metadata.name}:${version}`}
      verb="Point it here"
      whyNot={
        name === ""
          ? "A channel has a name."
          : before?.version === version
            ? "It points there already."
            : undefined
      }
      onClose={onClose}
      onSend={async () => {
        await send(image, [...channels.filter((channel) => channel.name !== name), { name, version }]);
        toast("ok", `${metadata.name}:${name} is version ${version} from now on`);
      }}
    >
      <Field id="channel" label="Channel" hint="stable, testing: what machines name it by">
        <input
          id="channel"
          list="channels"
          value={name}
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => setName(event.target.value.trim())}
        />
      </Field>
      <datalist id="channels">
        {channels.map((channel) => (
          <option key={channel.name} value={channel.name} />
        ))}
      </datalist>
      <p className="muted">
        {before
          ? `It points to version ${before.version} now. Machines that are there already keep their disks.`
          : "It is a new one."}
      </p>
    </FormDialog>
  );
}
