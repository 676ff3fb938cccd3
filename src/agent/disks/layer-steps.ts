/** How the layers of a machine (layers.ts) stand on each other, and which of them nothing needs any more. Pure. */

export type Step =
  | { do: "nothing" }
  | { do: "remove"; layer: string }
  | { do: "merge"; layer: string; into: string };

/**
 * What can be freed next: a layer without others on it goes; one with a single one on it is merged into that; one with several stays. What only goes
 * comes first: it makes room, which merges need.
 * @param layers each with the one below it
 * @param lent which others have open for reading: nothing is merged into them
 */
export function nextStep(
  layers: ReadonlyMap<string, string | undefined>,
  candidates: readonly string[],
  needed: ReadonlySet<string>,
  lent: ReadonlySet<string> = new Set(),
): Step {
  let merge: Step | undefined;
  for (const layer of candidates) {
    if (!layers.has(layer) || needed.has(layer)) continue;
    const above = [...layers].filter(([, below]) => below === layer).map(([name]) => name);
    const [into] = above;
    if (into === undefined) return { do: "remove", layer };
    if (above.length === 1 && !lent.has(into)) merge ??= { do: "merge", layer, into };
  }
  return merge ?? { do: "nothing" };
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

export interface Tree {
  tree: { snapshot: string; parent?: string }[];
  current?: string;
}

/**
 * The snapshots of a machine, each with the one that it came after.
 * @param taken by uid: what each froze of one and the same disk
 * @param active what the guest writes of that disk
 */
export function treeOf(
  layers: ReadonlyMap<string, string | undefined>,
  taken: readonly { uid: string; layer: string | undefined }[],
  active: string | undefined,
): Tree {
  const by = new Map(taken.map(({ uid, layer }) => [layer, uid]));
  const below = (layer: string | undefined): string | undefined => {
    for (let next = layers.get(layer ?? ""); next; next = layers.get(next)) {
      const uid = by.get(next);
      if (uid) return uid;
    }
    return undefined;
  };
  const current = below(active);
  return {
    tree: taken.map(({ uid, layer }) => {
      const parent = below(layer);
      return { snapshot: uid, ...(parent ? { parent } : {}) };
    }),
    ...(current ? { current } : {}),
  };
}
