/** Makes the Distributions that there are, and says in their status what they can do; one that is deleted comes back. */
import { modify } from "../client/client.ts";
import { Controller } from "../reconcile/controller.ts";
import { Informer } from "../reconcile/informer.ts";
import { isApiError } from "../resource/errors.ts";
import { Distribution } from "./kinds.ts";
import { FORMATS } from "./recipe.ts";
import type { ImageContext } from "./reconciler.ts";
import { allReleases, distributionName, releaseOf } from "./releases.ts";

const ALL: ReadonlyMap<string, Distribution["spec"]> = new Map(
  allReleases().map((spec) => [distributionName(spec), spec]),
);

export async function runDistributionReconciler({ client, clock, log, signal }: ImageContext): Promise<void> {
  const distributions = new Informer(client, Distribution, { log, clock });
  const controller = new Controller({
    name: "distributions",
    log,
    clock,
    reconcile: async (name) => {
      const spec = ALL.get(name);
      if (!spec) return;
      await client.create(Distribution, { metadata: { name }, spec }).catch((error: unknown) => {
        if (!isApiError(error, "AlreadyExists")) throw error;
      });
      const status = { formats: [...FORMATS], modes: [...releaseOf(spec).modes] };
      await modify(client, Distribution, { name }, "status", (now) =>
        JSON.stringify(now.status) === JSON.stringify(status) ? undefined : { ...now, status },
      );
    },
  });
  distributions.onChange((name) => controller.enqueue(name));
  for (const name of ALL.keys()) controller.enqueue(name);
  await Promise.all([distributions.run(signal), controller.run(signal)]);
}
