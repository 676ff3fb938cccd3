/** Repositories of packages that a recipe names, besides the distribution's own. */
import type { Repository } from "../recipe-parts.ts";

/** As apt has them in sources.list.d (sources.list(5), "DEB822-STYLE FORMAT"), with the key inside. Pure. */
export function deb822({ uri, suites = [], components = [], key }: Repository): string {
  const armor = key
    .trim()
    .split(/\r?\n/)
    .map((line) => ` ${line.trim() || "."}`);
  return [
    "Types: deb",
    `URIs: ${uri}`,
    `Suites: ${suites.join(" ")}`,
    ...(components.length ? [`Components: ${components.join(" ")}`] : []),
    "Architectures: amd64",
    "Signed-By:",
    ...armor,
    "",
  ].join("\n");
}

const BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END = "-----END PGP PUBLIC KEY BLOCK-----";
/** RFC 9580, section 5: the tag of a public key's packet. */
const PUBLIC_KEY = 6;

/** What is wrong with a public key in ASCII armor (RFC 9580, section 6); undefined when it is one. Pure. */
export function keyProblem(key: string): string | undefined {
  const lines = key.trim().split(/\r?\n/);
  if (/PRIVATE KEY/.test(lines[0] ?? ""))
    return "is a private key; give the public one (gpg --armor --export)";
  if (lines[0]?.trim() !== BEGIN || lines.at(-1)?.trim() !== END)
    return `is no public key in ASCII armor, which begins with ${BEGIN} and ends with ${END}`;
  const body = lines.slice(1, -1).map((line) => line.trim());
  // Headers such as "Version: …" end with an empty line.
  const data = body.slice(body.indexOf("") + 1);
  const sum = data.at(-1)?.startsWith("=") ? data.pop()?.slice(1) : undefined;
  const text = data.join("");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text))
    return "is damaged: what is between its first and last line is not base64";
  const bytes = Buffer.from(text, "base64");
  if (sum !== undefined && !Buffer.from(sum, "base64").equals(crc24(bytes)))
    return "is damaged: its checksum is not that of its content";
  const first = bytes[0] ?? 0;
  const tag = first & 0x40 ? first & 0x3f : (first >> 2) & 0x0f;
  return tag === PUBLIC_KEY ? undefined : "holds something else than a public key";
}

/** RFC 9580, section 6.1.1. */
function crc24(bytes: Buffer): Buffer {
  let crc = 0xb704ce;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit++) {
      crc <<= 1;
      if (crc & 0x1000000) crc ^= 0x1864cfb;
    }
  }
  const sum = Buffer.alloc(3);
  sum.writeUIntBE(crc & 0xffffff, 0, 3);
  return sum;
}
