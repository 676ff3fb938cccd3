/** A queue that gives what comes first by `order`, in log n. */
export class Heap<T> {
  private readonly items: T[] = [];
  private readonly order: (a: T, b: T) => number;

  constructor(order: (a: T, b: T) => number) {
    this.order = order;
  }

  get first(): T | undefined {
    return this.items[0];
  }

  push(item: T): void {
    const { items, order } = this;
    let at = items.length;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = items[up] as T;
      if (order(item, parent) >= 0) break;
      items[at] = parent;
      at = up;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const { items, order } = this;
    const [first] = items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= items.length) break;
      if (down + 1 < items.length && order(items[down + 1] as T, items[down] as T) < 0) down++;
      const child = items[down] as T;
      if (order(last, child) <= 0) break;
      items[at] = child;
      at = down;
    }
    items[at] = last;
    return first;
  }
}
