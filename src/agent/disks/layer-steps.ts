/** What of the layers of a machine (layers.ts) nothing needs any more. Pure. */

export type Step =
  | { do: "nothing" }
  | { do: "remove"; layer: string }
  | { do: "merge"; layer: string; into: string };

/**
 * What can be freed next: a layer without others on it goes; one with a single one on it is merged into that; one with several stays.
 * @param layers each with the one below it
 * @param lent which others have open for reading: nothing is merged into them
 */
export function nextStep(
  layers: ReadonlyMap<string, string | undefined>,
  candidates: readonly string[],
  needed: ReadonlySet<string>,
  lent: ReadonlySet<string> = new Set(),
): Step {
  for (const layer of candidates) {
    if (!layers.has(layer) || needed.has(layer)) continue;
    const above = [...layers].filter(([, below]) => below === layer).map(([name]) => name);
    const [into] = above;
    if (into === undefined) return { do: "remove", layer };
    if (above.length === 1 && !lent.has(into)) return { do: "merge", layer, into };
  }
  return { do: "nothing" };
}

/** These layers, and all that they stand on. */
export function withAllBelow(
  layers: ReadonlyMap<string, string | undefined>,
  tops: readonly string[],
): ReadonlySet<string> {
  const found = new Set<string>();
  for (const top of tops)
    for (let layer: string | undefined = top; layer && layers.has(layer); layer = layers.get(layer))
      found.add(layer);
  return found;
}

/** These layers and all that they stand on, each after the one below it. */
export function inOrder(
  layers: ReadonlyMap<string, string | undefined>,
  tops: readonly string[],
): readonly string[] {
  const found = new Set<string>();
  const add = (layer: string | undefined) => {
    if (layer === undefined || !layers.has(layer) || found.has(layer)) return;
    add(layers.get(layer));
    found.add(layer);
  };
  for (const top of tops) add(top);
  return [...found];
}
