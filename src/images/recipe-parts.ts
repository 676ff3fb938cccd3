/** Parts of recipes that are objects of their own. Pure. */
import { type Static, Type } from "typebox";
import { AS_SET } from "../resource/kind.ts";
import { RELEASES } from "./releases/releases.ts";
import { MAX_ARCHIVE_BYTES } from "./shared.ts";

/** No end of line, no NUL: what stands in a line of a file. */
const LINE = "^[^\\n\\r\\u0000]*$";

const uri = (description: string) =>
  Type.String({
    pattern: "^https?://[A-Za-z0-9._:\\[\\]-]+(/[A-Za-z0-9._~%+/-]*)?$",
    maxLength: 500,
    description,
  });
const key = (description: string) => Type.String({ minLength: 1, maxLength: 65536, description });

export const Repository = Type.Object({
  uri: uri("Where its dists/ and pool/ folders are; of RPMs, its repodata/."),
  suites: Type.Optional(
    Type.Array(Type.String({ pattern: "^[A-Za-z0-9._/-]+$", maxLength: 100 }), {
      minItems: 1,
      maxItems: 10,
      ...AS_SET,
      description:
        'Such as bookworm-backports; one that ends in "/" is a folder of packages itself. Repositories of RPMs have none.',
    }),
  ),
  components: Type.Optional(
    Type.Array(Type.String({ pattern: "^[A-Za-z0-9._/-]+$", maxLength: 100 }), {
      maxItems: 10,
      ...AS_SET,
      description: 'Such as main; none for a suite that ends in "/".',
    }),
  ),
  key: key("The OpenPGP public key that its packages are signed with, in ASCII armor."),
});
export type Repository = Static<typeof Repository>;

export const Archive = Type.Object({
  file: Type.String({
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
    maxLength: 200,
    description: "What it is called; vireo image build looks for it beside the recipe.",
  }),
  path: Type.Optional(
    Type.String({
      pattern: "^/",
      maxLength: 500,
      description: 'The folder in the image that it is unpacked in; "/" by default.',
    }),
  ),
  sha256: Type.String({
    pattern: "^[0-9a-f]{64}$",
    description: "Of the archive (tar, not compressed): what is another file is refused.",
  }),
  bytes: Type.Integer({ minimum: 512, maximum: MAX_ARCHIVE_BYTES }),
});
export type Archive = Static<typeof Archive>;

/** In words. */
const USUAL_MIRRORS = new Intl.ListFormat("en-GB").format(
  new Set(Object.values(RELEASES).flatMap((all) => Object.values(all).map(({ mirror }) => mirror))),
);

export const Mirror = Type.Object(
  {
    uri: Type.Optional(
      uri(`Such as https://mirror.example/fedora/linux: what ${USUAL_MIRRORS} have below them is there.`),
    ),
    key: Type.Optional(
      key(
        "The OpenPGP public keys of the distribution, in ASCII armor, where the control plane's machine has none of its own.",
      ),
    ),
  },
  {
    minProperties: 1,
    description: "Where the distribution itself is taken from; its own mirrors by default.",
  },
);
export type Mirror = Static<typeof Mirror>;

export const User = Type.Object({
  name: Type.String({
    pattern: "^[a-z_][a-z0-9_-]{0,30}$",
    description: "One that the packages bring, such as root, gets what is said here.",
  }),
  groups: Type.Optional(
    Type.Array(Type.String({ pattern: "^[a-z_][a-z0-9_-]{0,30}$" }), {
      maxItems: 50,
      uniqueItems: true,
      ...AS_SET,
      description: "Besides its own; those that are in the image.",
    }),
  ),
  sshAuthorizedKeys: Type.Optional(
    Type.Array(
      Type.String({
        pattern: "^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\\n\\r]*)?$",
        maxLength: 4096,
      }),
      { maxItems: 50, uniqueItems: true, ...AS_SET, description: "Public keys that log in over SSH." },
    ),
  ),
  passwordHash: Type.Optional(
    Type.String({
      pattern: "^\\$[0-9a-z]+\\$[A-Za-z0-9./$,=+-]+$",
      maxLength: 300,
      description:
        "As crypt(5) and `openssl passwd -6` make it; without it no password lets the user in. Everybody who may read images sees it.",
    }),
  ),
  shell: Type.Optional(
    Type.String({
      pattern: "^/[A-Za-z0-9._/-]+$",
      description: "A program of the image; /bin/sh by default.",
    }),
  ),
});
export type User = Static<typeof User>;

const line = (description: string) =>
  Type.Optional(Type.String({ pattern: LINE, maxLength: 300, description }));

const picture = (endings: string, description: string) =>
  Type.Optional(
    Type.String({
      pattern: `^(/[A-Za-z0-9][A-Za-z0-9._-]*)+\\.(${endings})$`,
      maxLength: 300,
      description: `${description}: where in the image the picture is, which a package, files or archives bring.`,
    }),
  );

export const Branding = Type.Object(
  {
    splash: picture(
      "png",
      "Shown in the middle of the screen while a full image with kernel: generic starts and ends",
    ),
    wallpaper: picture("png|jpe?g|svg", "Behind the windows of the desktop, in profiles gnome and kde"),
    issue: Type.Optional(
      Type.String({
        maxLength: 8192,
        description: "Shown before somebody logs in: /etc/issue, /etc/issue.net.",
      }),
    ),
    motd: Type.Optional(
      Type.String({ maxLength: 8192, description: "Shown when somebody has logged in: /etc/motd." }),
    ),
    osRelease: Type.Optional(
      Type.Object(
        {
          name: line("NAME"),
          prettyName: line("PRETTY_NAME"),
          variant: line("VARIANT"),
          variantId: Type.Optional(
            Type.String({ pattern: "^[a-z0-9._-]+$", maxLength: 100, description: "VARIANT_ID" }),
          ),
          imageId: Type.Optional(
            Type.String({ pattern: "^[a-z0-9._-]+$", maxLength: 100, description: "IMAGE_ID" }),
          ),
          imageVersion: Type.Optional(
            Type.String({ pattern: "^[a-z0-9._-]+$", maxLength: 100, description: "IMAGE_VERSION" }),
          ),
          vendorName: line("VENDOR_NAME"),
          homeUrl: line("HOME_URL"),
          supportUrl: line("SUPPORT_URL"),
          bugReportUrl: line("BUG_REPORT_URL"),
        },
        {
          description:
            "Fields of /etc/os-release (os-release(5)). ID and VERSION_ID stay the distribution's: package managers and scanners go by them.",
        },
      ),
    ),
  },
  { description: "How the image names itself; boot menus show prettyName, too." },
);
export type Branding = Static<typeof Branding>;
