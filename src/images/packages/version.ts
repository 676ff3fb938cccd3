/** Which of two versions of a Debian package is newer, as dpkg sees it (deb-version(7)). Pure. */

interface Version {
  epoch: number;
  upstream: string;
  revision: string;
}

function partsOf(version: string): Version {
  const colon = version.indexOf(":");
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf("-");
  return {
    // dpkg knows no other than numbers.
    epoch: colon < 0 ? 0 : Number(version.slice(0, colon)) || 0,
    upstream: dash < 0 ? rest : rest.slice(0, dash),
    revision: dash < 0 ? "" : rest.slice(dash + 1),
  };
}

const [ZERO, NINE, TILDE] = [48, 57, 126];
/** @param sign its code; NaN past the end */
const isDigit = (sign: number) => sign >= ZERO && sign <= NINE;
const isLetter = (sign: number) => (sign >= 65 && sign <= 90) || (sign >= 97 && sign <= 122);

/** "~" comes before everything, even the end; letters before other signs. */
function weight(sign: number): number {
  if (Number.isNaN(sign) || isDigit(sign)) return 0;
  if (sign === TILDE) return -1;
  return isLetter(sign) ? sign : sign + 256;
}

/** @returns where the digits from `at` on end */
function digitsEnd(text: string, at: number): number {
  let end = at;
  while (isDigit(text.charCodeAt(end))) end += 1;
  return end;
}

/** Parts that are no digits and numbers in turn. Code by code: a picker compares thousands at a click. */
function compareParts(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a.charCodeAt(i))) || (j < b.length && !isDigit(b.charCodeAt(j)))) {
      const difference = weight(a.charCodeAt(i)) - weight(b.charCodeAt(j));
      if (difference !== 0) return difference;
      i += 1;
      j += 1;
    }
    while (a.charCodeAt(i) === ZERO) i += 1;
    while (b.charCodeAt(j) === ZERO) j += 1;
    const [end, other] = [digitsEnd(a, i), digitsEnd(b, j)];
    // Of any length: numbers in versions may be dates and commits.
    if (end - i !== other - j) return end - i - (other - j);
    for (; i < end; i++, j++) {
      const difference = a.charCodeAt(i) - b.charCodeAt(j);
      if (difference !== 0) return difference;
    }
  }
  return 0;
}

/** @returns less than 0 when a is older than b, more when it is newer, 0 when dpkg holds them for the same */
export function compareVersions(a: string, b: string): number {
  if (a === b) return 0;
  const [first, second] = [partsOf(a), partsOf(b)];
  if (first.epoch !== second.epoch) return first.epoch - second.epoch;
  return compareParts(first.upstream, second.upstream) || compareParts(first.revision, second.revision);
}
