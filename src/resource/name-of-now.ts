/** A name for what is made now: "web-1-20261124-051500". Pure. */
export function nameOfNow(of: string, now = new Date()): string {
  const time = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-");
  // With "-before" it still is a name.
  return `${of.slice(0, 40)}-${time}`;
}
