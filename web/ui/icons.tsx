/** Icons, drawn on a grid of 16 with one stroke; they only go with words. */
const PATHS = {
  estate: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z",
  machines: "M2 3h12v8H2zM5.5 13.5h5M8 11v2.5",
  hosts: "M2.5 2.5h11v3.5h-11zM2.5 8h11v3.5h-11zM5 4.25h.01M5 9.75h.01M8 11.5v2",
  director: "M8 14V8M8 8 3.5 4.5M8 8l4.5-3.5M3.5 4.5v3M3.5 4.5h3M12.5 4.5v3M12.5 4.5h-3",
  activity: "M1.5 8h3l2-5 3 10 2-5h3",
  images: "M8 1.5l5.5 3v7L8 14.5l-5.5-3v-7zM2.5 4.5 8 7.5l5.5-3M8 7.5v7",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5l3 3",
  theme: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  out: "M6.5 2.5h-4v11h4M6 8h8M11 5l3 3-3 3",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  up: "M4 9.5 8 5.5l4 4",
  down: "M4 6.5l4 4 4-4",
  add: "M8 3v10M3 8h10",
  screen: "M2 3h12v8.5H2zM5 14h6",
  terminal: "M2 2.5h12v11H2zM4.5 6l2 2-2 2M8.5 10h3",
  close: "M4 4l8 8M12 4l-8 8",
} as const;
export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" fill="none" aria-hidden="true" focusable="false">
      <path
        d={PATHS[name]}
        stroke="currentColor"
        strokeWidth="1.4"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
