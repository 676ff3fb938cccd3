/** A text as the keys of a US keyboard that type it: what a VNC server can be told, whatever runs in the guest. Pure. */

export interface KeyEvent {
  /** X11's, which for ASCII is the character itself. */
  keysym: number;
  /** The key, as in KeyboardEvent.code. */
  code: string;
  down: boolean;
}

const SHIFT = { keysym: 0xffe1, code: "ShiftLeft" };
/** By key: without and with Shift. */
const KEYS: readonly (readonly [string, string])[] = [
  ["Space", " "],
  ["Backquote", "`~"],
  ["Digit1", "1!"],
  ["Digit2", "2@"],
  ["Digit3", "3#"],
  ["Digit4", "4$"],
  ["Digit5", "5%"],
  ["Digit6", "6^"],
  ["Digit7", "7&"],
  ["Digit8", "8*"],
  ["Digit9", "9("],
  ["Digit0", "0)"],
  ["Minus", "-_"],
  ["Equal", "=+"],
  ["BracketLeft", "[{"],
  ["BracketRight", "]}"],
  ["Backslash", "\\|"],
  ["Semicolon", ";:"],
  ["Quote", "'\""],
  ["Comma", ",<"],
  ["Period", ".>"],
  ["Slash", "/?"],
  ...[..."abcdefghijklmnopqrstuvwxyz"].map(
    (letter) => [`Key${letter.toUpperCase()}`, letter + letter.toUpperCase()] as const,
  ),
];

interface Stroke {
  keysym: number;
  code: string;
  shifted: boolean;
}
const STROKES: ReadonlyMap<string, Stroke> = new Map([
  ...KEYS.flatMap(([code, characters]) =>
    [...characters].map((character, i): [string, Stroke] => [
      character,
      { keysym: character.charCodeAt(0), code, shifted: i === 1 },
    ]),
  ),
  ["\n", { keysym: 0xff0d, code: "Enter", shifted: false }],
  ["\t", { keysym: 0xff09, code: "Tab", shifted: false }],
]);

const eventsOf = ({ keysym, code, shifted }: Stroke): KeyEvent[] => {
  const pressed = [true, false].map((down) => ({ keysym, code, down }));
  return shifted ? [{ ...SHIFT, down: true }, ...pressed, { ...SHIFT, down: false }] : pressed;
};

/** @returns for each character what types it, and the characters that no key has, each once */
export function strokesOf(text: string): { strokes: KeyEvent[][]; unknown: string[] } {
  const strokes: KeyEvent[][] = [];
  const unknown = new Set<string>();
  for (const character of text.replaceAll("\r\n", "\n")) {
    const stroke = STROKES.get(character);
    if (stroke) strokes.push(eventsOf(stroke));
    else unknown.add(character);
  }
  return { strokes, unknown: [...unknown] };
}
