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

/** "~" comes before everything, even the end; letters before other signs. */
function weight(sign: string | undefined): number {
  if (sign === undefined || /\d/.test(sign)) return 0;
  if (sign === "~") return -1;
  return /[A-Za-z]/.test(sign) ? sign.charCodeAt(0) : sign.charCodeAt(0) + 256;
}

/** Parts that are no digits and numbers in turn. */
function compareParts(a: string, b: string): number {
  let [i, j] = [0, 0];
  const isDigit = (sign: string | undefined) => sign !== undefined && sign >= "0" && sign <= "9";
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a[i])) || (j < b.length && !isDigit(b[j]))) {
      const difference = weight(a[i]) - weight(b[j]);
      if (difference !== 0) return difference;
      i += 1;
      j += 1;
    }
    const [, first = ""] = /^0*(\d*)/.exec(a.slice(i)) ?? [];
    const [, second = ""] = /^0*(\d*)/.exec(b.slice(j)) ?? [];
    while (isDigit(a[i])) i += 1;
    while (isDigit(b[j])) j += 1;
    // Of any length: numbers in versions may be dates and commits.
    if (first.length !== second.length) return first.length - second.length;
    if (first !== second) return first < second ? -1 : 1;
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
