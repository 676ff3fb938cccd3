/** Which texts keep rules that compare them, or ask how they begin, end and what they contain. Pure. */

const HAS = {
  startsWith: (text: string, part: string) => text.startsWith(part),
  endsWith: (text: string, part: string) => text.endsWith(part),
  contains: (text: string, part: string) => text.includes(part),
};
type Part = keyof typeof HAS;
export const isPart = (name: string): name is Part => Object.hasOwn(HAS, name);

interface Bound {
  text: string;
  /** It is not taken itself. */
  isOpen: boolean;
}

/** Each must hold of a text. */
export class Texts {
  /** Once each. */
  private readonly asked = new Map<string, { part: Part; text: string; not: boolean }>();
  private low: Bound | undefined;
  private high: Bound | undefined;

  /** How much there is to look at. */
  get size(): number {
    return this.asked.size + 1;
  }

  ask(part: Part, text: string, not: boolean): void {
    this.asked.set(`${part} ${not} ${text}`, { part, text, not });
  }

  compare(op: "<" | "<=" | ">" | ">=", text: string): void {
    const bound = { text, isOpen: op === "<" || op === ">" };
    if (op === "<" || op === "<=") this.lower(bound);
    else this.raise(bound);
  }

  narrow(other: Texts): void {
    for (const [key, asked] of other.asked) this.asked.set(key, asked);
    if (other.low) this.raise(other.low);
    if (other.high) this.lower(other.high);
  }

  takes(text: string): boolean {
    const { low, high } = this;
    if (low && (text < low.text || (low.isOpen && text === low.text))) return false;
    if (high && (text > high.text || (high.isOpen && text === high.text))) return false;
    return this.asked.values().every(({ part, text: of, not }) => HAS[part](text, of) !== not);
  }

  /** The only text that lies between the bounds. */
  get only(): string | undefined {
    const { low, high } = this;
    if (high?.text === "" && !high.isOpen) return "";
    return low && high && low.text === high.text && !low.isOpen && !high.isOpen ? low.text : undefined;
  }

  /** Whether certainly none is taken, whatever else is asked of it. */
  isNone(): boolean {
    const { only } = this;
    if (only !== undefined) return !this.takes(only);
    const { low, high } = this;
    if (high?.text === "") return true;
    if (low && high && low.text >= high.text) return true;
    const begin = this.longest("startsWith");
    const end = this.longest("endsWith");
    if (begin === undefined || end === undefined) return true;
    if (high && (begin > high.text || (begin === high.text && high.isOpen))) return true;
    if (low && low.text > begin && !low.text.startsWith(begin)) return true;
    const has = [begin, end, ...this.of("contains", false)].join("\0");
    return (
      this.of("startsWith", true).some((text) => begin.startsWith(text)) ||
      this.of("endsWith", true).some((text) => end.endsWith(text)) ||
      this.of("contains", true).some((text) => has.includes(text))
    );
  }

  private of(part: Part, not: boolean): string[] {
    return this.asked
      .values()
      .flatMap((each) => (each.part === part && each.not === not ? [each.text] : []))
      .toArray();
  }

  /** What holds all of these; undefined: there is no such text. */
  private longest(part: "startsWith" | "endsWith"): string | undefined {
    const all = this.of(part, false).sort((a, b) => b.length - a.length);
    const [longest = ""] = all;
    return all.every((text) => HAS[part](longest, text)) ? longest : undefined;
  }

  private raise(low: Bound): void {
    const { low: before } = this;
    if (!before || low.text > before.text || (low.text === before.text && low.isOpen)) this.low = low;
  }

  private lower(high: Bound): void {
    const { high: before } = this;
    if (!before || high.text < before.text || (high.text === before.text && high.isOpen)) this.high = high;
  }
}
