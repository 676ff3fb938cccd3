/** Pretended disks that hosts do not share: each host has its own copy of one, which may be old or half of it. */

interface Copy {
  /** It is what the guest wrote last. */
  whole: boolean;
  /** Of the target that it was made for, until that accepts it. */
  mark?: string;
}

export class LocalDisks {
  readonly #disks = new Map<string, Map<string, Copy>>();
  readonly #violation: (text: string) => void;

  constructor(violation: (text: string) => void) {
    this.#violation = violation;
  }

  has(path: string): boolean {
    return this.#disks.has(path);
  }

  at(path: string, host: string): Copy | undefined {
    return this.#disks.get(path)?.get(host);
  }

  make(path: string, host: string, copy: Copy): void {
    const copies = this.#disks.get(path) ?? new Map<string, Copy>();
    this.#disks.set(path, copies.set(host, copy));
  }

  /** All that its guest wrote has been copied to `host`. */
  copied(path: string, host: string): void {
    const copy = this.at(path, host);
    if (copy) copy.whole = true;
  }

  accept(path: string, host: string): void {
    delete this.at(path, host)?.mark;
  }

  /** A guest runs on it, and writes: all others are old from now on. */
  runs(path: string, host: string, who: string): void {
    const copies = this.#disks.get(path);
    if (!copies) return;
    const own = copies.get(host);
    if (!own?.whole) this.#violation(`${who}@${host} runs on disks that are not what it wrote last`);
    if (own?.mark) this.#violation(`${who}@${host} runs on disks that its host may throw away`);
    for (const copy of copies.values()) copy.whole = copy === own;
  }

  /** Whether another host has what the guest wrote last. */
  isElsewhere(path: string, host: string): boolean {
    return [...(this.#disks.get(path) ?? [])].some(([other, { whole }]) => other !== host && whole);
  }

  remove(path: string, host: string): void {
    this.#disks.get(path)?.delete(host);
  }
}
