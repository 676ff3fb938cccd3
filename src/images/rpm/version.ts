/** Which of two RPMs is newer, as rpm has it (rpm-version(7)). Pure. */

/** @param a "2:1.0~rc1-3.fc43": epoch and release are optional. @returns below 0 when `a` is older, above 0 when it is newer */
export function compareRpmVersions(a: string, b: string): number {
  const [one, other] = [partsOf(a), partsOf(b)];
  return (
    one.epoch - other.epoch ||
    compareParts(one.version, other.version) ||
    compareParts(one.release, other.release)
  );
}

function partsOf(text: string): { epoch: number; version: string; release: string } {
  const [, epoch = "0", version = "", release = ""] = /^(?:(\d+):)?([^-]*)(?:-(.*))?$/.exec(text) ?? [];
  return { epoch: Number(epoch), version, release };
}

/** Numbers, words, and the two signs; all else only divides them. */
const pieces = (text: string) => text.match(/\d+|[A-Za-z]+|[~^]/g) ?? [];

/** Of what follows: "~" is before the end, the end before "^", that before words, those before numbers. */
const rank = (piece: string | undefined) =>
  piece === "~" ? 0 : piece === undefined ? 1 : piece === "^" ? 2 : /^[A-Za-z]/.test(piece) ? 3 : 4;

function compareParts(a: string, b: string): number {
  const [one, other] = [pieces(a), pieces(b)];
  for (let i = 0; ; i += 1) {
    const [x, y] = [one[i], other[i]];
    if (rank(x) !== rank(y)) return rank(x) - rank(y);
    if (x === undefined || y === undefined) return 0;
    const order = rank(x) === 4 ? compareNumbers(x, y) : x < y ? -1 : x > y ? 1 : 0;
    if (order !== 0) return order;
  }
}

/** They may be longer than what a number holds exactly. */
function compareNumbers(a: string, b: string): number {
  const [x, y] = [BigInt(a), BigInt(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
