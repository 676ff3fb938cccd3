/** Builds of images: how far they are, what came of them, and their logs. */
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { errorFromAnswer } from "../../../src/client/answers.ts";
import { buildName, isBuildOver, nextNumber } from "../../../src/images/shared.ts";
import { Action, Ago, Badge, duration, Running } from "../../ui/basics.tsx";
import { tell } from "../../ui/toasts.tsx";
import { create, patch } from "../data/actions.ts";
import { messageOf } from "../data/api.ts";
import { toneOf } from "../data/derive.ts";
import { type ImageBuild, objectPath } from "../data/kinds.ts";
import { useRights } from "../data/rights.ts";
import { Link } from "../router.tsx";
import { Sending } from "./sending.tsx";
import { archiveUpload, receivedBytes, stopSending } from "./upload.ts";

export const began = ({ metadata, status }: ImageBuild) =>
  status?.startedTime ?? metadata.creationTimestamp ?? "";

/** The next one. @param builds all of the image @param storagePool where the image is, if it is anywhere */
export const createBuild = async (
  builds: readonly ImageBuild[],
  { storagePool, ...spec }: Omit<ImageBuild["spec"], "storagePool"> & { storagePool: string | undefined },
): Promise<string> => {
  const name = buildName(spec.image, nextNumber(builds));
  const pool = storagePool === undefined ? {} : { storagePool };
  await create("imagebuilds", "ImageBuild", { metadata: { name }, spec: { ...spec, ...pool } });
  return name;
};

const archivesOf = ({ metadata, spec }: ImageBuild) =>
  (spec.recipe.archives ?? []).map((archive) => ({
    ...archive,
    to: archiveUpload(metadata.name, archive.sha256),
  }));

const stopArchives = (build: ImageBuild) => {
  for (const { to } of archivesOf(build)) stopSending(to);
};

export function BuildProgress({ build }: { build: ImageBuild }) {
  const { metadata, spec, status } = build;
  const can = useRights(undefined);
  const left = status?.secondsLeft;
  return (
    <Running
      label={`Build of ${spec.image}`}
      far={{
        value: (status?.percent ?? 0) / 100,
        text: `${status?.percent ?? 0} %${left === undefined ? "" : `, ${duration(left * 1000)} left`}`,
      }}
      cancel={() =>
        void tell(
          patch("imagebuilds", metadata, { spec: { cancelled: true } }).then(() => stopArchives(build)),
          `the build of ${spec.image} is called off`,
        )
      }
      whyNot={spec.cancelled ? "It is being called off already." : can("patch", "imagebuilds")}
    >
      Build of <Link href={`/images/${spec.image}`}>{spec.image}</Link>
      <span className="muted"> {status?.message ?? "waits its turn"}</span>
    </Running>
  );
}

export function Builds({ builds }: { builds: readonly ImageBuild[] }) {
  const [shown, setShown] = useState<string>();
  const running = builds.find((build) => !isBuildOver(build));
  const open = builds.find(({ metadata }) => metadata.name === (shown ?? running?.metadata.name));
  // Whoever has called it off.
  useEffect(() => {
    for (const build of builds) if (build.spec.cancelled || isBuildOver(build)) stopArchives(build);
  }, [builds]);
  if (builds.length === 0) return null;
  return (
    <section className="panel">
      <h2>Builds</h2>
      <ul className="lines">
        {builds.map((build) => {
          const { metadata, status } = build;
          const [tone, busy] = toneOf(status?.phase ?? "Pending");
          const isOpen = open === build;
          return (
            <li key={metadata.uid}>
              {isBuildOver(build) ? (
                <>
                  <Badge tone={tone} busy={busy}>
                    {status?.phase}
                  </Badge>
                  <span>{metadata.name}</span>
                  <span className={status?.phase === "Failed" ? "bad" : "muted"}>{status?.message}</span>
                </>
              ) : (
                <>
                  <BuildProgress build={build} />
                  <Awaited build={build} />
                </>
              )}
              <span className="push row">
                <span className="muted">
                  <Ago time={began(build)} />
                </span>
                <Action kind="quiet" onPress={() => setShown(isOpen ? "" : metadata.name)}>
                  {isOpen ? "Hide the log" : "Log"}
                </Action>
              </span>
            </li>
          );
        })}
      </ul>
      {open && <Log key={open.metadata.name} build={open} />}
    </section>
  );
}

/** Archives of its recipe that have not come yet. */
function Awaited({ build }: { build: ImageBuild }) {
  const { status, spec } = build;
  const isPending = (status?.phase ?? "Pending") === "Pending" && !spec.cancelled;
  return isPending && archivesOf(build).map((archive) => <Coming key={archive.file} archive={archive} />);
}

function Coming({
  archive: { file, bytes, sha256, to },
}: {
  archive: ReturnType<typeof archivesOf>[number];
}) {
  const can = useRights(undefined);
  const { data } = useQuery<number>({
    queryKey: ["received", to],
    // Somebody else may be sending it.
    refetchInterval: ({ state }) => ((state.data ?? 0) >= bytes ? false : 2000),
    queryFn: ({ signal }) => receivedBytes(to, signal),
  });
  if (data === undefined || data >= bytes) return null;
  return (
    <section className="coming" aria-label={file}>
      <span>
        <strong>{file}</strong> is waited for
      </span>
      <Sending
        label={`What has come of ${file}`}
        to={to}
        sha256={sha256}
        total={bytes}
        received={data}
        isWanted
        whyNot={can("create", "imagebuilds/upload")}
      />
    </section>
  );
}

/** What was done, as it is done. */
function Log({ build }: { build: ImageBuild }) {
  const { name } = build.metadata;
  const [text, setText] = useState("");
  const [error, setError] = useState<unknown>();
  const box = useRef<HTMLPreElement>(null);
  useEffect(() => {
    const stop = new AbortController();
    const read = async () => {
      const answer = await fetch(`${objectPath("imagebuilds", { name })}/log?follow=true`, {
        signal: stop.signal,
        credentials: "same-origin",
      });
      if (!answer.ok || !answer.body) throw errorFromAnswer(answer.status, await answer.text());
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        setText((before) => before + value);
      }
    };
    read().catch((caught: unknown) => {
      if (!stop.signal.aborted) setError(caught);
    });
    return () => stop.abort();
  }, [name]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is new is at its end
  useEffect(() => {
    const pre = box.current;
    if (pre && pre.scrollHeight - pre.scrollTop - pre.clientHeight < 200) pre.scrollTop = pre.scrollHeight;
  }, [text]);
  return (
    <>
      {error !== undefined && <p className="note bad">{messageOf(error)}</p>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls */}
      <pre ref={box} className="yaml log" tabIndex={0} role="log" aria-label={`Log of ${name}`}>
        {text || (isBuildOver(build) ? "Nothing was said." : "It waits its turn…")}
      </pre>
    </>
  );
}
