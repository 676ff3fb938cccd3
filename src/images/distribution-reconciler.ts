/** Makes the Distributions that there are, and says in their status what can be done with them on this machine; one that is deleted comes back. */
import { isDeepStrictEqual } from "node:util";
import { modify } from "../client/client.ts";
import type { Clock } from "../reconcile/clock.ts";
import { Controller } from "../reconcile/controller.ts";
import { Informer } from "../reconcile/informer.ts";
import { isApiError } from "../resource/errors.ts";
import { setCondition } from "../resource/object.ts";
import { abilitiesOf, PROBES } from "./abilities.ts";
import type { ImageContext } from "./context.ts";
import { Distribution } from "./kinds.ts";
import { FORMATS } from "./recipe.ts";
import { allReleases, distributionName, releaseOf } from "./releases/releases.ts";

const ALL: ReadonlyMap<string, Distribution["spec"]> = new Map(
  allReleases().map((spec) => [distributionName(spec), spec]),
);

/** Programs, keys and what this process may do come and go without anybody telling. Not often: to start a program takes a process of some GB, as a large estate's control plane is, a quarter of a second. */
const LOOK_MS = 120_000;

/** One look for all distributions, until it is older than LOOK_MS. */
function inCommon<T>(clock: Clock, look: () => Promise<T>): () => Promise<T> {
  let last: { at: number; answer: Promise<T> } | undefined;
  return () => {
    const at = clock.now().getTime();
    // A clock that is put back makes no look last longer.
    if (!last || Math.abs(at - last.at) >= LOOK_MS) last = { at, answer: look() };
    return last.answer;
  };
}

export async function runDistributionReconciler(
  { client, clock, log, signal }: ImageContext,
  { namespaces, seal } = PROBES,
): Promise<void> {
  const distributions = new Informer(client, Distribution, { log, clock });
  const probes = { namespaces: inCommon(clock, namespaces), seal: inCommon(clock, seal) };
  const controller = new Controller({
    name: "distributions",
    log,
    clock,
    reconcile: async (name) => {
      const spec = ALL.get(name);
      if (!spec) return undefined;
      await client.create(Distribution, { metadata: { name }, spec }).catch((error: unknown) => {
        if (!isApiError(error, "AlreadyExists")) throw error;
      });
      const { title, modes } = releaseOf(spec);
      const abilities = await abilitiesOf(spec, probes);
      await modify(client, Distribution, { name }, "status", (now) => {
        const at = clock.now().toISOString();
        const observedGeneration = now.metadata.generation ?? 0;
        const conditions = abilities.reduce(
          (all, ability) => setCondition(all, { ...ability, observedGeneration }, at),
          now.status?.conditions ?? [],
        );
        const status = { title, formats: [...FORMATS], modes: [...modes], conditions };
        return isDeepStrictEqual(now.status, status) ? undefined : { ...now, status };
      });
      return { requeueAfterMs: LOOK_MS };
    },
  });
  distributions.onChange((name) => controller.enqueue(name));
  for (const name of ALL.keys()) controller.enqueue(name);
  await Promise.all([distributions.run(signal), controller.run(signal)]);
}
