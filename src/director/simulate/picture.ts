/** The outcomes of simulations over time, as one SVG picture: what is on, what it takes, what is moved, where it is too much. Pure. */
import type { Outcome, Sample } from "./run.ts";
import { STEP_MS } from "./trace.ts";

const [WIDTH, LEFT, RIGHT, TOP, PANEL, GAP] = [960, 70, 30, 90, 130, 46];
/** Told apart also by those who do not see all colours (Okabe and Ito). */
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];
/** More than there are pixels cannot be seen. */
const POINTS = WIDTH - LEFT - RIGHT;

interface Panel {
  title: string;
  of: (sample: Sample) => number;
  /** Of the samples that fall on one point. */
  join: "mean" | "sum";
}

const PANELS: readonly Panel[] = [
  { title: "Hosts on", of: ({ hostsOn }) => hostsOn, join: "mean" },
  { title: "Power, kW", of: ({ watts }) => watts / 1000, join: "mean" },
  { title: "Moves so far", of: ({ moves }) => moves, join: "sum" },
  {
    title: "Overload so far, host minutes",
    of: ({ overloaded }) => overloaded * (STEP_MS / 60_000),
    join: "sum",
  },
];

const escaped = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c] ?? c);

/** @param words what it is a picture of, a line each */
export function picture(outcomes: readonly Outcome[], words: readonly string[]): string {
  const steps = Math.max(1, ...outcomes.map(({ samples }) => samples.length));
  const height = TOP + 22 * Math.ceil(outcomes.length / 3) + PANELS.length * (PANEL + GAP) + 10;
  const parts: string[] = [];
  const text = (x: number, y: number, of: string, more = "") =>
    `<text x="${x}" y="${y}" ${more}>${escaped(of)}</text>`;
  parts.push(
    text(LEFT, 28, "Simulated energy, moves and overload by policy", 'font-size="18" font-weight="bold"'),
  );
  for (const [i, line] of words.entries())
    parts.push(text(LEFT, 48 + 15 * i, line, 'font-size="11" fill="#444"'));
  const legend = 52 + 15 * words.length;
  for (const [i, { name }] of outcomes.entries()) {
    const [x, y] = [LEFT + (i % 3) * 290, legend + 22 * Math.floor(i / 3)];
    parts.push(
      `<line x1="${x}" y1="${y}" x2="${x + 26}" y2="${y}" stroke="${COLORS[i % COLORS.length]}" stroke-width="3"/>`,
      text(x + 32, y + 4, name, 'font-size="13"'),
    );
  }
  let y = legend + 22 * Math.ceil(outcomes.length / 3) + 18;
  for (const panel of PANELS) {
    parts.push(...draw(panel, outcomes, steps, y, text));
    y += PANEL + GAP;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${Math.max(height, y)}" viewBox="0 0 ${WIDTH} ${Math.max(height, y)}" font-family="DejaVu Sans, Verdana, sans-serif" role="img" aria-label="Simulated energy, moves and overload by policy">
<rect width="100%" height="100%" fill="white"/>
${parts.join("\n")}
</svg>
`;
}

function draw(
  panel: Panel,
  outcomes: readonly Outcome[],
  steps: number,
  top: number,
  text: (x: number, y: number, of: string, more?: string) => string,
): string[] {
  const lines = outcomes.map(({ samples }) => pointsOf(panel, samples, steps));
  const most = niceMost(Math.max(0, ...lines.flat()));
  const right = WIDTH - RIGHT;
  const bottom = top + PANEL;
  const parts = [text(LEFT, top - 6, panel.title, 'font-size="13" font-weight="bold"')];
  for (let i = 0; i <= 4; i++) {
    const y = bottom - (PANEL * i) / 4;
    parts.push(
      `<line x1="${LEFT}" y1="${y}" x2="${right}" y2="${y}" stroke="${i === 0 ? "#444" : "#ddd"}"/>`,
      text(
        LEFT - 8,
        y + 4,
        Number(((most * i) / 4).toFixed(2)).toLocaleString("en-US"),
        'font-size="11" text-anchor="end"',
      ),
    );
  }
  for (const [at, label] of ticks(steps)) {
    const x = LEFT + ((right - LEFT) * at) / steps;
    parts.push(
      `<line x1="${x}" y1="${bottom}" x2="${x}" y2="${bottom + 4}" stroke="#444"/>`,
      text(x, bottom + 17, label, 'font-size="11" text-anchor="middle"'),
    );
  }
  for (const [i, points] of lines.entries()) {
    const path = points.map((value, n) => {
      const x = LEFT + ((right - LEFT) * (n + 0.5)) / points.length;
      return `${x.toFixed(1)},${(bottom - (PANEL * value) / most).toFixed(1)}`;
    });
    parts.push(
      `<polyline points="${path.join(" ")}" fill="none" stroke="${COLORS[i % COLORS.length]}" stroke-width="2" stroke-linejoin="round"/>`,
    );
  }
  return parts;
}

function pointsOf({ of, join }: Panel, samples: readonly Sample[], steps: number): number[] {
  const count = Math.min(POINTS, steps);
  const points: number[] = [];
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const [from, to] = [Math.floor((n * steps) / count), Math.floor(((n + 1) * steps) / count)];
    const here = samples.slice(from, to).map(of);
    const total = here.reduce((all, value) => all + value, 0);
    sum += total;
    points.push(join === "sum" ? sum : total / Math.max(1, here.length));
  }
  return points;
}

/** 1, 2 or 5 times a power of ten, or 4 or 8 times it. */
function niceMost(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 5, 8, 10].find((times) => times * power >= value) ?? 10) * power;
}

/** Hours of one or two days, days of more. */
function ticks(steps: number): [number, string][] {
  const hours = (steps * STEP_MS) / 3_600_000;
  const every = hours <= 2 ? 0.5 : hours <= 12 ? 1 : hours <= 48 ? 4 : 24 * Math.ceil(hours / 24 / 14);
  const count = Math.floor(hours / every);
  return Array.from({ length: count + 1 }, (_, i): [number, string] => [
    (i * every * 3_600_000) / STEP_MS,
    hours > 48 ? `day ${(i * every) / 24}` : `${i * every} h`,
  ]);
}
